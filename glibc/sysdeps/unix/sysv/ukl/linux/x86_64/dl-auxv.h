/* Take the kernel's entry from the auxiliary vector, in ld.so and in static
   programs.  SPDX-License-Identifier: LGPL-2.1-or-later  */

#include <ukl-entry.h>

#define DL_PLATFORM_AUXV __ukl_entry = ukl_choose (auxv_values[AT_SYSINFO]);
