// SPDX-License-Identifier: MIT

import { UklError } from '../../lib/errors.js';
import { exec } from '../../lib/exec.js';
import type { Accel } from '../../model/index.js';
import { QEMU } from './args.js';

/** The processor of a guest whose run names none: all that the accelerator can do. */
export function defaultCpu(accel: Accel): string {
  return accel === 'kvm' ? 'host' : 'max';
}

/** The models in what `-cpu help` prints, which goes on with the features that all of them may have. */
export function parseCpuModels(help: string): string[] {
  return [...help.matchAll(/^x86 +(\S+)/gm)].map(([, name = '']) => name);
}

/**
 * Checks a processor as QEMU takes it: a model, and after commas features to
 * add or to leave out.
 *
 * @throws UKL_USAGE if there is no such model, or not with this accelerator
 */
export async function checkCpu(cpu: string, accel: Accel): Promise<void> {
  const [model = ''] = cpu.split(',');
  const models = parseCpuModels(await exec(QEMU, ['-cpu', 'help'], { errorCode: 'UKL_VMM', hint: 'ukl doctor' }));
  if (!models.includes(model)) throw new UklError('UKL_USAGE', `QEMU has no model of a processor named '${model}'`, { hint: `one of ${models.join(', ')}` });
  if (model === 'host' && accel !== 'kvm') throw new UklError('UKL_USAGE', "the host's own processor needs KVM, and this is emulation", { hint: '--cpu max' });
}
