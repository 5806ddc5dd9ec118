// SPDX-License-Identifier: MIT
/** A later image for a disk that takes updates: a label, and what goes into a slot. */
import { createReadStream, createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { exec } from '../lib/exec.js';
import { hashFile } from '../lib/hash.js';
import type { MediumContainer } from './container.js';
import { bootRequirements, writeBoot } from './disk.js';
import { labelOf } from './slots.js';

export const update: MediumContainer = {
  kind: 'medium',
  name: 'update',
  title: 'a later image for a disk that takes updates',
  requirements: bootRequirements,
  boot: 'disk',
  carries: 'bzImage',
  partitions: true,
  write: async (parts) => {
    const { name, root, signer, work, out, log, signal } = parts;
    const content = join(work, 'content');
    const at = await writeBoot(content, parts);
    if (root !== undefined) await exec('dd', [`if=${root.file}`, `of=${content}`, 'bs=1M', 'oflag=append', 'conv=notrunc', 'status=none'], { log, signal });
    const label = { name, bytes: at + (root?.bytes ?? 0), sum: await hashFile(content), root: root && { at, uuid: root.uuid } };
    await writeFile(out, await labelOf(label, signer));
    await pipeline(createReadStream(content), createWriteStream(out, { flags: 'a' }));
  },
};
