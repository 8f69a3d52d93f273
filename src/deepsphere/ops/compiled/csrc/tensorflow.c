/* The functions as TensorFlow operations, through its C interface. The used part of the interface
   is declared here, since its headers require C++. */

#include <stddef.h>
#include <stdint.h>

#include "call.h"

enum { TF_FLOAT = 1, TF_INT32 = 3, TF_OK = 0, TF_INVALID_ARGUMENT = 3, TF_RESOURCE_EXHAUSTED = 8 };

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;

extern TF_Status *TF_NewStatus(void);
extern void TF_DeleteStatus(TF_Status *);
extern int TF_GetCode(const TF_Status *);
extern void TF_SetStatus(TF_Status *, int code, const char *message);
extern void TF_DeleteTensor(TF_Tensor *);
extern int TF_TensorType(const TF_Tensor *);
extern int TF_NumDims(const TF_Tensor *);
extern int64_t TF_Dim(const TF_Tensor *, int);
extern void *TF_TensorData(const TF_Tensor *);
extern TF_OpDefinitionBuilder *TF_NewOpDefinitionBuilder(const char *);
extern void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder *, const char *);
extern void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder *, const char *);
extern void TF_OpDefinitionBuilderSetShapeInferenceFunction(
    TF_OpDefinitionBuilder *, void (*)(TF_ShapeInferenceContext *, TF_Status *));
extern void TF_RegisterOpDefinition(TF_OpDefinitionBuilder *, TF_Status *);
extern void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext *, TF_Status *);
extern TF_KernelBuilder *TF_NewKernelBuilder(const char *, const char *,
                                             void *(*)(TF_OpKernelConstruction *),
                                             void (*)(void *, TF_OpKernelContext *),
                                             void (*)(void *));
extern void TF_RegisterKernelBuilder(const char *, TF_KernelBuilder *, TF_Status *);
extern void TF_GetInput(TF_OpKernelContext *, int, TF_Tensor **, TF_Status *);
extern TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *, int, int type, const int64_t *, int,
                                    size_t, TF_Status *);
extern void TF_OpKernelContext_Failure(TF_OpKernelContext *, TF_Status *);

#define MOST_DIMS 3

typedef struct {
  int64_t dims[MOST_DIMS];
  int rank;
} Shape;

/* The options of the gradients. Other backends allocate the results, empty if not wanted. */
typedef struct {
  FilterOptions filter;
  float wants_dx, wants_dkernel, wants_dbias;
} GradientOptions;

static int64_t fields_of(int function) {
  switch (function) {
    case FORWARD:
    case FORWARD_NORMALIZED: return FIELDS(FilterOptions);
    case BACKWARD:
    case BACKWARD_NORMALIZED: return FIELDS(GradientOptions);
    case PRODUCT: return FIELDS(ProductOptions);
    case POOL:
    case POOL_BACKWARD: return FIELDS(PoolOptions);
    default: return FIELDS(AttentionOptions);
  }
}

/* Whether the shapes of the results are known from the arguments. */
static int can_tell_shapes(int function, const Array *in) {
  if (in[0].rank != 1 || in[0].dims[0] < fields_of(function) || in[1].rank != 3) return 0;
  if (function == POOL) return ((const PoolOptions *)in[0].data)->children >= 1;
  return function >= PRODUCT || in[2].rank == 3;
}

static void result_shapes(int function, const Array *in, const void *options, Shape *out) {
  const int64_t *x = in[1].dims, *kernel = function < PRODUCT ? in[2].dims : NULL;
  if (function >= PRODUCT) {
    out[0] = out[1] = out[2] = (Shape){{x[0], x[1], x[2]}, 3};
    if (function == POOL) {
      const PoolOptions *pooling = options;
      out[0].dims[1] = (int64_t)((double)x[1] / pooling->children);
    }
    return;
  }
  if (function < BACKWARD) {
    const Shape y = {{x[0], x[1], kernel[2]}, 3}, filters = {{kernel[2]}, 1};
    out[0] = out[1] = y;
    out[2] = out[3] = filters;
    return;
  }
  const Shape dx = {{x[0], x[1], x[2]}, 3}, dkernel = {{kernel[0], kernel[1], kernel[2]}, 3};
  const Shape dbias = {{kernel[2]}, 1}, nothing = {{0}, 1};
  const GradientOptions *wanted = options;
  out[0] = wanted->wants_dx != 0 ? dx : nothing;
  out[1] = wanted->wants_dkernel != 0 ? dkernel : nothing;
  out[2] = wanted->wants_dbias != 0 ? dbias : nothing;
}

static void compute(int function, TF_OpKernelContext *context) {
  TF_Status *status = TF_NewStatus();
  TF_Tensor *tensors[MOST_ARGUMENTS + MOST_RESULTS] = {0};
  int64_t dims[MOST_ARGUMENTS][MOST_DIMS];
  Array in[MOST_ARGUMENTS], out[MOST_RESULTS];
  Shape shapes[MOST_RESULTS];
  int count = 0;
  for (int i = 0; i < arguments_of(function); i++) {
    TF_GetInput(context, i, tensors + count, status);
    if (TF_GetCode(status) != TF_OK) goto end;
    TF_Tensor *tensor = tensors[count++];
    const int rank = TF_NumDims(tensor);
    if (rank > MOST_DIMS) {
      TF_SetStatus(status, TF_INVALID_ARGUMENT, "an argument has too many dimensions");
      goto end;
    }
    for (int d = 0; d < rank; d++) dims[i][d] = TF_Dim(tensor, d);
    const int type = TF_TensorType(tensor);
    in[i] = (Array){TF_TensorData(tensor),
                    type == TF_FLOAT   ? FLOAT32
                    : type == TF_INT32 ? INT32
                                       : OTHER_TYPE,
                    rank, dims[i]};
  }
  if (!can_tell_shapes(function, in)) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT,
                 "x and the kernel must have three dimensions, and every option be given");
    goto end;
  }
  result_shapes(function, in, in[0].data, shapes);
  for (int i = 0; i < results_of(function); i++) {
    size_t size = sizeof(float);
    for (int d = 0; d < shapes[i].rank; d++) size *= (size_t)shapes[i].dims[d];
    tensors[count] = TF_AllocateOutput(context, i, TF_FLOAT, shapes[i].dims, shapes[i].rank, size,
                                       status);
    if (TF_GetCode(status) != TF_OK) goto end;
    out[i] = (Array){TF_TensorData(tensors[count++]), FLOAT32, shapes[i].rank, shapes[i].dims};
  }
  const char *message = deepsphere_call(function, in, out);
  if (message)
    TF_SetStatus(status,
                 message == deepsphere_no_memory ? TF_RESOURCE_EXHAUSTED : TF_INVALID_ARGUMENT,
                 message);
end:
  if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
  while (count) TF_DeleteTensor(tensors[--count]);
  TF_DeleteStatus(status);
}

static void unknown_shapes(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status); /* set in Python */
}

#define COMPUTE(NAME, FUNCTION)                                 \
  static void NAME(void *kernel, TF_OpKernelContext *context) { \
    (void)kernel;                                               \
    compute(FUNCTION, context);                                 \
  }
COMPUTE(compute_forward, FORWARD)
COMPUTE(compute_forward_normalized, FORWARD_NORMALIZED)
COMPUTE(compute_backward, BACKWARD)
COMPUTE(compute_backward_normalized, BACKWARD_NORMALIZED)
COMPUTE(compute_product, PRODUCT)
COMPUTE(compute_pool, POOL)
COMPUTE(compute_pool_backward, POOL_BACKWARD)
COMPUTE(compute_attend, ATTEND)
COMPUTE(compute_attend_backward, ATTEND_BACKWARD)

static const char *const names[FUNCTIONS] = {
    "DeepsphereForward", "DeepsphereForwardNormalized", "DeepsphereBackward",
    "DeepsphereBackwardNormalized", "DeepsphereProduct", "DeepspherePool", "DeepspherePoolBackward",
    "DeepsphereAttend", "DeepsphereAttendBackward"};

static const char *const arguments[FUNCTIONS][MOST_ARGUMENTS] = {
    {"options: float", "x: float", "kernel: float", "bias: float", "starts: int32",
     "indices: int32", "values: float"},
    {"options: float", "x: float", "kernel: float", "bias: float", "starts: int32",
     "indices: int32", "values: float"},
    {"options: float", "x: float", "kernel: float", "y: float", "gradient: float",
     "starts: int32", "indices: int32", "values: float", "transposed_starts: int32",
     "transposed_indices: int32", "transposed_values: float"},
    {"options: float", "x: float", "kernel: float", "bias: float", "raw: float", "mean: float",
     "variance: float", "gradient: float", "starts: int32", "indices: int32", "values: float",
     "transposed_starts: int32", "transposed_indices: int32", "transposed_values: float"},
    {"options: float", "x: float", "starts: int32", "indices: int32", "values: float"},
    {"options: float", "x: float"},
    {"options: float", "x: float", "y: float", "gradient: float"},
    {"options: float", "q: float", "k: float", "v: float", "mask: float", "starts: int32",
     "indices: int32", "values: float"},
    {"options: float", "q: float", "k: float", "v: float", "mask: float", "gradient: float",
     "starts: int32", "indices: int32", "values: float", "transposed_starts: int32",
     "transposed_indices: int32", "transposed_values: float"}};

static const char *const results[FUNCTIONS][MOST_RESULTS] = {
    {"y: float"},
    {"y: float", "raw: float", "mean: float", "variance: float"},
    {"dx: float", "dkernel: float", "dbias: float"},
    {"dx: float", "dkernel: float", "dbias: float"},
    {"y: float"},
    {"y: float"},
    {"dx: float"},
    {"y: float"},
    {"dq: float", "dk: float", "dv: float"}};

/* Runs when TensorFlow loads the library. */
__attribute__((constructor)) static void register_operations(void) {
  void (*const kernels[FUNCTIONS])(void *, TF_OpKernelContext *) = {
      compute_forward,  compute_forward_normalized, compute_backward,
      compute_backward_normalized, compute_product, compute_pool, compute_pool_backward,
      compute_attend, compute_attend_backward};
  TF_Status *status = TF_NewStatus();
  for (int f = 0; f < FUNCTIONS; f++) {
    TF_OpDefinitionBuilder *operation = TF_NewOpDefinitionBuilder(names[f]);
    for (int i = 0; i < arguments_of(f); i++)
      TF_OpDefinitionBuilderAddInput(operation, arguments[f][i]);
    for (int i = 0; i < results_of(f); i++)
      TF_OpDefinitionBuilderAddOutput(operation, results[f][i]);
    TF_OpDefinitionBuilderSetShapeInferenceFunction(operation, unknown_shapes);
    TF_RegisterOpDefinition(operation, status);
    TF_RegisterKernelBuilder(names[f], TF_NewKernelBuilder(names[f], "CPU", NULL, kernels[f], NULL),
                             status);
  }
  TF_DeleteStatus(status);
}
