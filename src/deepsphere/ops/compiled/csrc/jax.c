/* The functions as XLA custom calls on the host. */

#include <xla/ffi/api/c_api.h>

#include "call.h"

static Array view(const XLA_FFI_Buffer *b) {
  const int type = b->dtype == XLA_FFI_DataType_F32   ? FLOAT32
                   : b->dtype == XLA_FFI_DataType_S32 ? INT32
                                                      : OTHER_TYPE;
  return (Array){b->data, type, b->rank, b->dims};
}

static XLA_FFI_Error *call(int function, XLA_FFI_CallFrame *frame) {
  for (__typeof__(frame->extension_start) e = frame->extension_start; e; e = e->next)
    if (e->type == XLA_FFI_Extension_Metadata) { /* XLA queries the API version */
      XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)e)->metadata;
      metadata->api_version.major_version = XLA_FFI_API_MAJOR;
      metadata->api_version.minor_version = XLA_FFI_API_MINOR;
      return 0;
    }
  Array in[MOST_ARGUMENTS], out[MOST_RESULTS];
  const char *message = "it was called with another number of arrays than it has";
  if (frame->args.size == arguments_of(function) && frame->rets.size == results_of(function)) {
    for (int i = 0; i < arguments_of(function); i++) in[i] = view(frame->args.args[i]);
    for (int i = 0; i < results_of(function); i++) out[i] = view(frame->rets.rets[i]);
    message = deepsphere_call(function, in, out);
  }
  if (!message) return 0;
  XLA_FFI_Error_Create_Args error = {.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE,
                                     .message = message,
                                     .errc = message == deepsphere_no_memory
                                                 ? XLA_FFI_Error_Code_RESOURCE_EXHAUSTED
                                                 : XLA_FFI_Error_Code_INVALID_ARGUMENT};
  return frame->api->XLA_FFI_Error_Create(&error);
}

#define HANDLER(NAME, FUNCTION) \
  EXPORTED XLA_FFI_Error *NAME(XLA_FFI_CallFrame *frame) { return call(FUNCTION, frame); }

HANDLER(deepsphere_jax_forward, FORWARD)
HANDLER(deepsphere_jax_forward_normalized, FORWARD_NORMALIZED)
HANDLER(deepsphere_jax_backward, BACKWARD)
HANDLER(deepsphere_jax_backward_normalized, BACKWARD_NORMALIZED)
HANDLER(deepsphere_jax_product, PRODUCT)
HANDLER(deepsphere_jax_pool, POOL)
HANDLER(deepsphere_jax_pool_backward, POOL_BACKWARD)
HANDLER(deepsphere_jax_attend, ATTEND)
HANDLER(deepsphere_jax_attend_backward, ATTEND_BACKWARD)
