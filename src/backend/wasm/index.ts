// The CPU backend: AssemblyScript kernels on strict Wasm SIMD, threads over shared memory.

import { type Backend, type GraphBackend, TensorError } from "gyrotron/tensor";
import { WasmDecoder } from "./decoder.ts";
import { type DeviceOptions, WasmDevice } from "./device.ts";
import { loadAddon } from "./native.ts";
import { WasmGraphs } from "./graph/run.ts";
import { runSingleOp } from "./single-op.ts";

/** Scratch for a single op at its limits: a norm's grid of 65536 columns. */
const SINGLE_OP_SCRATCH_BYTES = 2 * 65536;

/**
 * A CPU backend. `threads` (default 1) and `native`, the path of an addon of kernels, change speed only.
 * @throws TensorError `tensor/limit`, `tensor/unsupported`, `tensor/native-differs`; what the host throws if it cannot load the addon
 */
export async function createWasmBackend(
  options: Partial<DeviceOptions> = {},
): Promise<Backend & GraphBackend> {
  const settings = { threads: 1, ...options };
  // Each decoder has a device of its own, ops and graphs share one. The first who needs one takes this.
  let spare: WasmDevice | undefined = await WasmDevice.create(settings);
  if (options.native !== undefined) {
    const { checkNative } = await import("./native-check.ts");
    checkNative(spare);
  }
  let shared: Promise<SharedDevice> | undefined;
  let isOpen = true;
  const take = async (): Promise<WasmDevice> => {
    const device = spare;
    spare = undefined;
    return device ?? WasmDevice.create(settings);
  };
  const share = async (): Promise<SharedDevice> => {
    if (!isOpen) throw new TensorError({ code: "tensor/closed", what: "device" });
    shared ??= take().then((device) => {
      device.reserveScratch(SINGLE_OP_SCRATCH_BYTES);
      return { device, graphs: new WasmGraphs(device) };
    });
    return shared;
  };
  const kernels =
    options.native === undefined
      ? "wasm: strict SIMD"
      : `native: ${loadAddon(options.native).describe()}`;
  return {
    name: options.native === undefined ? "wasm" : "native",
    device: `${kernels}, ${settings.threads} thread${settings.threads === 1 ? "" : "s"}`,
    run: async (call) => runSingleOp((await share()).device, call),
    createDecoder: async (weights) => new WasmDecoder(await take(), weights),
    placeTensors: async (tensors) => (await share()).graphs.placeTensors(tensors),
    runGraph: async (...run) => (await share()).graphs.runGraph(...run),
    async close() {
      isOpen = false;
      await spare?.close();
      await (await shared)?.device.close();
    },
  };
}

/** The device of ops and graphs. */
interface SharedDevice {
  readonly device: WasmDevice;
  readonly graphs: WasmGraphs;
}
