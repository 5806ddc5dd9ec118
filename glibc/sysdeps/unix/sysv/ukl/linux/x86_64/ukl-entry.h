/* Where system calls jump to.  SPDX-License-Identifier: LGPL-2.1-or-later  */

#ifndef _UKL_ENTRY_H
#define _UKL_ENTRY_H

#include <stdint.h>

typedef void (*ukl_entry_t) (void);
extern ukl_entry_t __ukl_entry attribute_hidden;

/* Executes the instruction in front of the return address.  */
extern void __ukl_stub (void) attribute_hidden;

/* The kernel passes AT_SYSINFO to ring 0 programs alone.  */
static inline ukl_entry_t
ukl_choose (uintptr_t sysinfo)
{
  return sysinfo != 0 ? (ukl_entry_t) sysinfo : __ukl_stub;
}

#endif
