#include "vec_avx2.h"
#define DD_TIER_NAME "avx2"
#define DD_TIER_TABLE dd_kernels_avx2
#include "template.h"
