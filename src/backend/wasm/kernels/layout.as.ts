// Where things lie: the control block that all threads share and the records of a program. The host's
// copy of these numbers is ../layout.ts; a test compares what they compute, not the numbers.

// Control block, i32 words.
export const BARRIER_COUNT: usize = 0;
export const BARRIER_GENERATION: usize = 4;
export const PROGRAM: usize = 16;
export const PROGRAM_LENGTH: usize = 20;
export const THREADS: usize = 24;
export const SCRATCH: usize = 28;
export const SCRATCH_BYTES: usize = 32;
export const EXP2: usize = 36;
export const SINES: usize = 40;
export const POSITIONS: usize = 44;
export const CACHES: usize = 48;
/** Whether the host has native kernels for some records. */
export const NATIVE: usize = 72;
/** 16 bytes for each of 64 threads, behind the host's words: how many of its parts of a shared record are taken. */
export const PARTS_TAKEN: usize = 1024;

/** Bytes of a program record: 24 words. */
export const RECORD_BYTES: usize = 96;

// @ts-ignore: decorator
@inline
export function word(record: usize, index: i32): i32 {
  return load<i32>(record + (<usize>index << 2));
}

// @ts-ignore: decorator
@inline
export function address(record: usize, index: i32): usize {
  return <usize>load<u32>(record + (<usize>index << 2));
}
