#include "vec_neon.h"
#define DD_TIER_NAME "neon"
#define DD_TIER_TABLE dd_kernels_neon
#include "template.h"
