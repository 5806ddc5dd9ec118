// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import { exec } from '../lib/exec.js';
import { UklError } from '../lib/errors.js';
import { hashFileOnce } from '../lib/hash.js';

/**
 * SHA-256 of a source tarball that a Debian package installed, as apt verified
 * it: dpkg still knows each file's checksum.
 *
 * @throws UKL_SOURCE if it is missing or was changed
 */
export async function hashDebianTarball(packageName: string, tarball: string): Promise<string> {
  if (!existsSync(tarball)) {
    throw new UklError('UKL_SOURCE', `${tarball} does not exist`, { hint: 'ukl doctor' });
  }
  return hashFileOnce(tarball, async () => {
    const complaints = await exec('dpkg', ['--verify', packageName], { errorCode: 'UKL_SOURCE' }).catch((error: unknown) =>
      error instanceof UklError ? (error.details ?? error.message) : String(error),
    );
    if (complaints.includes(tarball)) {
      throw new UklError('UKL_SOURCE', `${tarball} is not the file that Debian's package installed`, {
        details: complaints,
        hint: `sudo apt-get install --reinstall ${packageName}`,
      });
    }
  });
}
