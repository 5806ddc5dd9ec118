/* System calls through a pointer.  SPDX-License-Identifier: LGPL-2.1-or-later

   A gas macro named "syscall" turns every site, those of inline assembly
   included, into a jump with the contract of the instruction: rcx holds the
   return address, r11 is clobbered, the stack is untouched.  The instruction
   stays in front of the return address: the kernel steps back to it (ip -= 2)
   to restart a call, and so does the stub that __ukl_entry starts with.  */

#ifndef _UKL_SYSDEP_H
#define _UKL_SYSDEP_H

#include <sysdeps/unix/sysv/linux/x86_64/sysdep.h>

/* Each module has a pointer of its own, libc.a one for the whole program.
   The unusual label hides none of the code around a site.  */
#if (IS_IN (libc) || IS_IN (rtld)) && !defined UKL_INSTRUCTION
# define UKL_SYSCALL .macro syscall;			\
	leaq 8086f(%rip), %rcx;				\
	jmp *__ukl_entry(%rip);				\
	.byte 0x0f, 0x05;				\
	8086: ; .endm
# ifdef __ASSEMBLER__
UKL_SYSCALL
# else
#  define UKL_STRING1(...) #__VA_ARGS__
#  define UKL_STRING(...) UKL_STRING1 (__VA_ARGS__)
asm (UKL_STRING (UKL_SYSCALL));
# endif
#endif

#endif
