// The price of a job. A quote is {maximum, formula}: the charge is the formula over what was counted,
// and never more than the maximum that was reserved.

import { macsOf, type ModelRecord } from "gyrotron/job";
import type { PriceTable } from "../cycles/prices.ts";

/** The formula of a quote: what a job costs that evaluated and generated so many tokens. */
export function jobPrice(
  prices: PriceTable,
  model: ModelRecord,
  promptTokens: number,
  outputTokens: number,
): bigint {
  return prices.gpuJob(macsOf(model, promptTokens, outputTokens));
}

/** The most that a job can cost: reserved before it runs. */
export function quoteMaximum(
  prices: PriceTable,
  model: ModelRecord,
  promptMax: number,
  outputMax: number,
): bigint {
  return jobPrice(prices, model, promptMax, Math.min(outputMax, model.contextTokensMax));
}
