/* Where system calls jump to.  SPDX-License-Identifier: LGPL-2.1-or-later  */

#include <sys/auxv.h>
#include <ukl-entry.h>

asm (".pushsection .text\n"
     ".hidden __ukl_stub\n"
     ".globl __ukl_stub\n"
     ".type __ukl_stub, @function\n"
     ".balign 16\n"
     "__ukl_stub:\n"
     "	subq $2, %rcx\n"
     "	jmp *%rcx\n"
     ".size __ukl_stub, . - __ukl_stub\n"
     ".popsection");

#if defined SHARED && IS_IN (libc)
/* Nothing in libc.so runs before it is relocated.  Let a relocation choose:
   the pointer is right from the start, and read-only.  */
static ukl_entry_t
choose (void)
{
  unsigned long int sysinfo = 0;
  __getauxval2 (AT_SYSINFO, &sysinfo);
  return ukl_choose (sysinfo);
}
static void entry (void) __attribute__ ((ifunc ("choose")));
ukl_entry_t __ukl_entry attribute_relro = entry;
#else
/* dl-auxv.h sets it before the first call.  An initial value would be a
   relocation, and a static PIE calls before it applies its relocations.  */
ukl_entry_t __ukl_entry attribute_relro;
#endif
