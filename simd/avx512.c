#include "vec_avx512.h"
#define DD_TIER_NAME "avx512"
#define DD_TIER_TABLE dd_kernels_avx512
#include "template.h"
