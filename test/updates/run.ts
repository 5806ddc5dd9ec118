// SPDX-License-Identifier: MIT
/**
 * Updates of machines that start from a disk: good ones, bad ones, and power cuts.
 * `npx tsx test/updates/run.ts [bios|uefi|secure-boot|root]...` writes docs/notes/updates.md.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { exec } from '../../src/lib/exec.js';
import { projectRoot } from '../../src/lib/paths.js';
import { makeScratch } from '../../src/lib/scratch.js';
import { FIRMWARES, type Firmware } from '../../src/model/machine.js';
import { createLog, type UklConfig } from '../../src/sdk/index.js';
import { Cases, must, writeWholeNote } from '../cases.js';
import { type Behaviour, configOf, makeDisk, makeUpdate, type Signed } from './images.js';
import { Pc } from './machine.js';

/** Debian's own, whose certificate its variables for Secure Boot trust; anybody knows the passphrase. */
const SNAKEOIL = { key: '/usr/share/ovmf/PkKek-1-snakeoil.key', cert: '/usr/share/ovmf/PkKek-1-snakeoil.pem', passphrase: 'snakeoil' } as const;
const CUTS = 5;
const BIG_MIB = 200;
const STEP_MIB = 16;

const log = createLog();
await using scratch = await makeScratch('updates');
const file = (name: string): string => join(scratch.path, name);
const key = file('key.pem');
await exec('openssl', ['pkey', '-in', SNAKEOIL.key, '-passin', `pass:${SNAKEOIL.passphrase}`, '-out', key]);
await exec('openssl', [
  'req',
  '-x509',
  '-newkey',
  'rsa:2048',
  '-nodes',
  '-days',
  '1',
  '-subj',
  '/CN=other',
  '-keyout',
  file('other.key'),
  '-out',
  file('other.crt'),
]);

const update = (version: string, behaviour: Behaviour, signer: Signed, name = version): Promise<Buffer> =>
  makeUpdate(file(name), configOf(version, behaviour, signer), { log, signer });

const tried = new Cases(log);
const scenario = (firmware: Firmware | 'root', what: string, look: () => Promise<string>): Promise<void> => tried.try([firmware, what], look);

async function onFirmware(firmware: Firmware): Promise<void> {
  const signer: Signed = firmware === 'secure-boot' ? { key, cert: SNAKEOIL.cert } : undefined;
  const disk = file(`disk-${firmware}`);
  await makeDisk(disk, configOf('1', 'serves', signer), { log, signer });
  const second = await update('2', 'serves', signer);
  const third = await update('3', 'says', signer);
  const start = (memory?: string): Promise<Pc> => Pc.start(scratch.path, disk, firmware, memory);

  let pc = await start();
  try {
    await pc.serves('1');
    await scenario(firmware, 'a good update', async () => {
      const said = await pc.push(second);
      must(said.endsWith('is written\n'), said);
      await pc.says(/init: web [0-9a-f]+: on trial\n/);
      await pc.serves('2');
      await pc.says(/init: web [0-9a-f]+: good\n/);
      must(pc.resets === 0, `${pc.resets} resets\n${pc.tail}`);
      await pc.cut();
      pc = await start();
      await pc.serves('2');
      return 'starts by kexec, without the firmware; after a cut, the firmware starts it';
    });
    await scenario(firmware, 'one that says that it is good', async () => {
      await pc.push(third);
      await pc.says(/: on trial\n/);
      await pc.serves('3');
      await pc.says(/: good\n/);
      must(pc.resets === 0, `${pc.resets} resets\n${pc.tail}`);
      return 'is good at once';
    });
    for (const [behaviour, what] of [
      ['exits', 'one whose program ends'],
      ['panics', 'one that panics'],
      ['hangs', 'one that hangs with interrupts off'],
      ['silent', 'one that does not say that it is good'],
    ] as const) {
      await scenario(firmware, what, async () => {
        const { starts } = pc;
        await pc.push(await update('4', behaviour, signer, behaviour));
        // What it prints before the machine stops may be lost.
        await pc.says(/: on trial\n/);
        await pc.says(/init: web [0-9a-f]+ was tried, and is not used\n/);
        await pc.serves('3');
        must(pc.starts === starts + 1, `${pc.starts - starts} starts by the firmware\n${pc.tail}`);
        return 'the machine is reset, and the firmware starts the old image';
      });
    }
    const refused: readonly (readonly [string, Buffer, RegExp])[] = [
      ['half of a file', second.subarray(0, second.length / 2), /cut short/],
      ['a file with another byte', Buffer.concat([second.subarray(0, -1), Buffer.from([0x55])]), /its sum is wrong/],
      ['a file with a byte more', Buffer.concat([second, Buffer.from([0])]), /its sum is wrong/],
      ['a file that is none', Buffer.alloc(4096, 'x'), /is no update/],
    ];
    for (const [what, bytes, why] of refused)
      await scenario(firmware, what, async () => {
        const said = await pc.push(bytes);
        must(why.test(said), said);
        return said.trim();
      });
    if (signer !== undefined) {
      const unsigned = await update('5', 'serves', undefined, 'unsigned');
      const others = await update('5', 'serves', { key: file('other.key'), cert: file('other.crt') }, 'others');
      for (const [what, bytes] of [
        ['an update that nobody has signed', unsigned],
        ['an update that somebody else has signed', others],
      ] as const)
        await scenario(firmware, what, async () => {
          const said = await pc.push(bytes);
          must(said.includes('not signed'), said);
          return said.trim();
        });
      await scenario(firmware, 'the same, written to the disk without our tool', async () => {
        await pc.cut();
        // As root in ring 3 could: a label that is new, and what it says.
        await forge(disk, others);
        pc = await start();
        await pc.says(/: not signed with the key of this image/);
        await pc.serves('3');
        return 'is not started';
      });
    }
    await scenario(firmware, `${CUTS} power cuts while an update is written`, async () => {
      for (let cut = 0; cut < CUTS; cut++) {
        const pushed = pc.push(second);
        await setTimeout(Math.random() * 1500);
        await pc.cut();
        await pushed;
        pc = await start();
        await pc.says(/version [23] in ring 0: Operation not permitted/);
      }
      return 'the machine starts with a whole image each time';
    });
    await scenario(firmware, 'a power cut while one is on trial', async () => {
      const bytes = await update('6', 'serves', signer);
      await pc.push(bytes);
      await pc.says(/: on trial\n/);
      await pc.serves('6');
      await pc.cut();
      pc = await start();
      await pc.says(/was tried, and is not used\n/);
      await pc.says(/version [23] in ring 0: Operation not permitted/);
      return 'the firmware starts the old image';
    });
    await scenario(firmware, 'one on a machine with little memory', async () => {
      await pc.cut();
      pc = await start('256M');
      await pc.says(/version [23] in ring 0: Operation not permitted/);
      await pc.push(await update('7', 'serves', signer));
      await pc.says(/: on trial\n/);
      await pc.serves('7');
      await pc.says(/: good\n/);
      must(pc.starts === 2, `${pc.starts} starts by the firmware\n${pc.tail}`);
      return 'goes through the firmware once, then by kexec';
    });
  } finally {
    await pc.cut();
  }
}

/** A big image with its files in memory, and on the disk. */
async function roots(): Promise<void> {
  const big = file('big');
  await exec('dd', ['if=/dev/urandom', `of=${big}`, 'bs=1M', `count=${BIG_MIB}`, 'status=none']);
  const disk = async (name: string, more: UklConfig): Promise<string> => {
    await makeDisk(file(name), { ...configOf('1', 'serves'), files: [`${big}:/srv/big`], ...more }, { log });
    return file(name);
  };
  const starts = async (path: string, mib: number, says: string): Promise<boolean> => {
    await using pc = await Pc.start(scratch.path, path, 'bios', `${mib}M`, ['-no-reboot']);
    return await pc.says(new RegExp(says)).then(
      () => true,
      () => false,
    );
  };
  const least = async (path: string, most: number): Promise<number> => {
    let [low, high] = [0, most / STEP_MIB];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await starts(path, middle * STEP_MIB, 'version 1 in ring 0')) high = middle;
      else low = middle;
    }
    return high * STEP_MIB;
  };
  for (const [root, most] of [
    ['memory', 1024],
    ['disk', 512],
  ] as const)
    await scenario('root', `${BIG_MIB} MiB of files, root: '${root}'`, async () => {
      const path = await disk(`root-${root}`, { root });
      return `a program in ring 0 starts with ${await least(path, most)} MiB of memory (steps of ${STEP_MIB})`;
    });
  await scenario('root', "root: 'disk', ring: 3", async () => {
    must(await starts(await disk('root-ring3', { root: 'disk', ring: 3 }), 512, 'version 1 in ring 3'), 'not in ring 3');
    return 'the program runs in ring 3';
  });
  await scenario('root', "root: 'disk', a block of it changed", async () => {
    const path = file('root-disk');
    const { start, size } = (await partitionsIn(path))[2] ?? { start: 0, size: 0 };
    const bytes = await readFile(path);
    for (let at = start * 512; at < (start + size) * 512; at += 4096) bytes[at + 100] = (bytes[at + 100] ?? 0) ^ 1;
    await writeFile(file('root-changed'), bytes);
    await using pc = await Pc.start(scratch.path, file('root-changed'), 'bios');
    await pc.says(/device-mapper: verity: .*data block \d+ is corrupted/);
    return 'the kernel reads none of it';
  });
}

async function partitionsIn(disk: string): Promise<readonly { readonly start: number; readonly size: number }[]> {
  const dump = JSON.parse(await exec('/sbin/sfdisk', ['--json', disk])) as { partitiontable: { partitions: { start: number; size: number }[] } };
  return dump.partitiontable.partitions;
}

/** Writes an update into the idle slot, the second partition, and what is behind `rootAt` into the root file system's that goes with it. */
async function forge(disk: string, bytes: Buffer): Promise<void> {
  const [active, idle, ...roots] = await partitionsIn(disk);
  if (active === undefined || idle === undefined) throw new Error('no slots');
  const rootAt = 4096 + (Number(bytes.readBigUInt64LE(64)) || bytes.length);
  const write = async (part: Buffer, sector: number): Promise<void> => {
    await writeFile(file('part'), part);
    await exec('dd', [`if=${file('part')}`, `of=${disk}`, 'bs=512', `seek=${sector}`, 'conv=notrunc', 'status=none']);
  };
  await write(bytes.subarray(4096, rootAt), idle.start);
  const root = roots[active.start < idle.start ? 1 : 0];
  if (root !== undefined) await write(bytes.subarray(rootAt), root.start);
  await write(bytes.subarray(0, 4096), idle.start + idle.size - 8);
}

const wanted = process.argv.slice(2);
const firmwares = FIRMWARES.filter((name) => name !== 'none' && (wanted.length === 0 || wanted.includes(name)));
for (const firmware of firmwares) await onFirmware(firmware);
if (wanted.length === 0 || wanted.includes('root')) await roots();
const NOTE = 'updates.md';
/** What was not run now stays as it was seen. */
const earlier = (await readFile(join(projectRoot, 'docs/notes', NOTE), 'utf8').catch(() => ''))
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (firmware|---) /.test(line));
const groupOf = (row: string): string => row.split(' ')[1] ?? '';
const ran = new Set(tried.rows.map(groupOf));
const all = [...earlier.filter((row) => !ran.has(groupOf(row))), ...tried.rows];
const ORDER = [...FIRMWARES, 'root'];
await writeWholeNote(
  NOTE,
  `# Updates that were tried

\`npx tsx test/updates/run.ts\`, the last time each part was run: a server in ring 0 on a q35 with a disk of two slots and QEMU's watchdog i6300esb, in QEMU 7.2's emulation with SeaBIOS and
Debian's OVMF; with Secure Boot, signed and with \`root: 'disk'\`. A start by kexec is no reset of QEMU's, and says nothing of a boot loader. QEMU's own cache survives a power cut;
\`test/unit/slots.test.ts\` tries a partition table of which a part has reached the disk. \`root\`: files on the disk, by BIOS.

| firmware | what | outcome |
| --- | --- | --- |
${all.sort((one, other) => ORDER.indexOf(groupOf(one)) - ORDER.indexOf(groupOf(other))).join('\n')}
`,
);
tried.end();
