// Native kernels on this machine. A door of its own, so that whoever wants them loads nothing else of a node.
export { buildNativeKernels, type BuildOptions, openNativeBackend } from "./kernel-build.ts";
