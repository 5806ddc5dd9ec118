// SPDX-License-Identifier: MIT
/** UEFI for QEMU, as Debian's package ovmf has it. QEMU's own BIOS needs no files. */
import type { Firmware, Requirement } from '../../model/index.js';

const OVMF = '/usr/share/OVMF';

interface Flash {
  readonly code: string;
  /** A template: each machine has a copy of its own. */
  readonly variables: string;
}

/** "secure-boot" has Debian's snakeoil key enrolled, and whoever has its private half (all) can sign: for trying. */
const FLASHES: Readonly<Partial<Record<Firmware, Flash>>> = {
  uefi: { code: `${OVMF}/OVMF_CODE_4M.fd`, variables: `${OVMF}/OVMF_VARS_4M.fd` },
  'secure-boot': { code: `${OVMF}/OVMF_CODE_4M.secboot.fd`, variables: `${OVMF}/OVMF_VARS_4M.snakeoil.fd` },
};

/** The machine's own copy of the variables, in its directory. */
export const VARIABLES = 'variables.fd';

/** The variables that a machine begins with, if its firmware keeps any. */
export const variablesOf = (firmware: Firmware): string | undefined => FLASHES[firmware]?.variables;

export function firmwareRequirements(firmware: Firmware): readonly Requirement[] {
  const flash = FLASHES[firmware];
  return flash === undefined ? [] : [{ package: 'ovmf', why: 'UEFI for virtual machines', file: flash.variables }];
}

/** QEMU's words: docs/system/i386/pc.rst has none, OVMF's README has. */
export function firmwareWords(firmware: Firmware, directory: string): readonly (readonly string[])[] {
  const flash = FLASHES[firmware];
  if (flash === undefined) return [];
  return [
    ['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${flash.code}`],
    ['-drive', `if=pflash,format=raw,unit=1,file=${directory}/${VARIABLES}`],
    // Only code in SMM may write to the variables, or a guest could enroll keys.
    firmware === 'secure-boot' ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : [],
  ];
}
