// Gradients of graphs, as graphs of the same ops.
export {
  differentiate,
  differentiateOnGrid,
  type GradientOptions,
  gradients,
  type GraphGradientOptions,
  gridSum,
} from "./gradients.ts";
