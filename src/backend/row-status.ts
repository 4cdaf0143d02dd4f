// What kernels of any device say of a row: the index of its first op that gave something not finite, or this.

/** The status of a row that is finite so far. */
export const STATUS_GOOD = 0x7fffffff;
