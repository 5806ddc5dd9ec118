// SPDX-License-Identifier: MIT
/** Which machines to try: each two choices that can go together are together in one of them at least. */
import type { DiskBus, Firmware, MachineType, NicModel } from '../../src/model/index.js';
import { busesOf, nicsOf } from '../../src/vmms/qemu/devices.js';

export interface Combination {
  readonly machine: MachineType;
  readonly firmware: Firmware;
  readonly bus: DiskBus;
  readonly nic: NicModel;
}

const FIRMWARES: Readonly<Record<MachineType, readonly Firmware[]>> = {
  microvm: ['none'],
  pc: ['bios', 'uefi'],
  q35: ['bios', 'uefi', 'secure-boot'],
};

/** What a firmware did not boot from when it was tried: Debian's OVMF, pvscsi and cards. */
const IMPOSSIBLE: readonly Partial<Combination>[] = [
  { firmware: 'uefi', bus: 'pvscsi' },
  { firmware: 'secure-boot', bus: 'pvscsi' },
  { firmware: 'uefi', bus: 'sd' },
  { firmware: 'secure-boot', bus: 'sd' },
];

const possible = (one: Combination): boolean =>
  !IMPOSSIBLE.some((not) => (Object.entries(not) as [keyof Combination, string][]).every(([name, value]) => one[name] === value));

const all = (): Combination[] =>
  (Object.keys(FIRMWARES) as MachineType[]).flatMap((machine) =>
    FIRMWARES[machine].flatMap((firmware) => busesOf(machine).flatMap((bus) => nicsOf(machine).map((nic) => ({ machine, firmware, bus, nic })))),
  );

/** The pairs of choices in a combination. */
function pairsOf(one: Combination): string[] {
  const choices = Object.entries(one).map(([name, value]) => `${name}=${value}`);
  return choices.flatMap((a, index) => choices.slice(index + 1).map((b) => `${a} ${b}`));
}

/** Greedily: the one with the most pairs that are new, until there are none. */
export function combinations(): Combination[] {
  const candidates = all().filter(possible);
  const wanted = new Set(candidates.flatMap(pairsOf));
  const chosen: Combination[] = [];
  while (wanted.size > 0) {
    let best: Combination | undefined;
    let most = 0;
    for (const candidate of candidates) {
      const fresh = pairsOf(candidate).filter((pair) => wanted.has(pair)).length;
      if (fresh <= most) continue;
      most = fresh;
      best = candidate;
    }
    if (best === undefined) break;
    chosen.push(best);
    for (const pair of pairsOf(best)) wanted.delete(pair);
  }
  return chosen;
}
