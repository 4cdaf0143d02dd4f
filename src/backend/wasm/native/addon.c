// The kernels as an addon of Node (Node-API): `open(memory)` gives a thread its `run(control, record, part, parts,
// done)`, which is 1 if the record's part is done; `describe()` names the instructions in use.

#include <stdlib.h>
#define NAPI_VERSION 8
#include <node_api.h>
#include "product.h"

enum { OP_MATMUL = 4, OP_ATTEND = 6, OP_GATE = 9 };

static int runRecord(Device *device, uint32_t control, uint32_t address, int part, int parts, int done) {
  const int32_t *record = at(device, (int32_t)address);
  device->control = at(device, (int32_t)control);
  if (done == 0) device->isSplit = 0;
  switch (record[0]) {
    case OP_MATMUL:
      return multiplyMatrix(device, record, part, parts);
    case OP_ATTEND:
      return attend(device, record, part, parts);
    case OP_GATE:
      return gate(device, record, part, parts);
    default:
      return 0;
  }
}

static napi_value run(napi_env env, napi_callback_info info) {
  size_t count = 5;
  napi_value arguments[5], result = NULL;
  void *device;
  uint32_t words[5];
  if (napi_get_cb_info(env, info, &count, arguments, NULL, &device) != napi_ok) return NULL;
  for (size_t i = 0; i < 5; i++) {
    if (napi_get_value_uint32(env, arguments[i], &words[i]) != napi_ok) {
      napi_throw_type_error(env, NULL, "run takes five numbers");
      return NULL;
    }
  }
  const int done = runRecord(device, words[0], words[1], (int)words[2], (int)words[3], (int)words[4]);
  napi_create_int32(env, done, &result);
  return result;
}

static void closeDevice(napi_env env, void *device, void *hint) {
  (void)env;
  (void)hint;
  free(((Device *)device)->work);
  free(device);
}

/** Takes bytes over the whole Wasm memory, whose base stays where it is as it grows. */
static napi_value openDevice(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value bytes, result = NULL;
  void *memory;
  Device *device = calloc(1, sizeof *device);
  uint8_t *work = aligned_alloc(64, WORK_BYTES);
  if (device != NULL && work != NULL && napi_get_cb_info(env, info, &count, &bytes, NULL, NULL) == napi_ok &&
      napi_get_typedarray_info(env, bytes, NULL, NULL, &memory, NULL, NULL) == napi_ok) {
    device->memory = memory;
    device->work = work;
    if (napi_create_function(env, "run", NAPI_AUTO_LENGTH, run, device, &result) == napi_ok &&
        napi_add_finalizer(env, result, device, closeDevice, NULL, NULL) == napi_ok) {
      return result;
    }
  }
  free(work);
  free(device);
  napi_throw_error(env, NULL, "the memory cannot be opened");
  return NULL;
}

static napi_value describe(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value text = NULL;
#if VECTOR_BYTES == 64 && defined(__AVX512VNNI__)
  const char *name = haveTiles() ? "AVX-512 VNNI and AMX" : "AVX-512 VNNI";
#elif VECTOR_BYTES == 64
  const char *name = "AVX-512";
#elif VECTOR_BYTES == 32
  const char *name = "AVX2";
#else
  const char *name = "vectors of 128 bits";
#endif
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text);
  return text;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "open", NAPI_AUTO_LENGTH, openDevice, NULL, &function);
  napi_set_named_property(env, exports, "open", function);
  napi_create_function(env, "describe", NAPI_AUTO_LENGTH, describe, NULL, &function);
  napi_set_named_property(env, exports, "describe", function);
  return exports;
}
