// What a test of a canister learns when a call does not end with a reply.

import { GyrotronError } from "gyrotron/base";

export type TestErrorInfo =
  /** The network or the canister rejected a call; the text is the one that clients see. */
  | {
      code: "testing/rejected";
      method: string;
      rejectCode: number;
      errorCode: string;
      message: string;
    }
  /** The network is at rest and the call has no answer: it waits for time, a job or something else outside. */
  | { code: "testing/no-answer"; method: string }
  | { code: "testing/time"; what: string }
  | { code: "testing/unknown-job"; job: bigint }
  | { code: "testing/unknown-outcall"; number: bigint }
  | { code: "testing/not-a-service"; what: string };

/** A failure of a call to a canister under test, or of the test itself. */
export class TestError extends GyrotronError<TestErrorInfo> {}
