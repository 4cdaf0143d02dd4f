// Gradients of graphs, as graphs of the same ops.
export { GRADIENT_OPS } from "./backward.ts";
export {
  differentiate,
  differentiateOnGrid,
  type GradientOptions,
  gradients,
  type GraphGradientOptions,
  gridSum,
} from "./gradients.ts";
