// SPDX-License-Identifier: MIT
/** Disks that take updates: two slots of one size, and what goes into one. guest/init/slots.c reads them. */
import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { align } from '../lib/align.js';
import type { Signer } from './container.js';

/** A UUID that some words determine (RFC 9562, version 8). */
export function uuidOf(...words: readonly string[]): string {
  const hex = createHash('sha256').update(words.join('\0')).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** As a partition table has it: the first three numbers are little-endian (UEFI specification, appendix A). */
export function guidBytes(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex');
  bytes.subarray(0, 4).reverse();
  bytes.subarray(4, 6).reverse();
  bytes.subarray(6, 8).reverse();
  return bytes;
}

/** The disks of all images of a name are each other's: an update is for them, and for no others. */
export const diskUuid = (name: string): string => uuidOf('disk that takes updates', name);

const MIB = 2 ** 20;
const SLOT_UNIT = 64 * MIB;
const SLOT_LEAST = 128 * MIB;
export const LABEL_BYTES = 4096;

/** A slot's size: later images may grow to twice as much. */
export const slotBytes = (contentBytes: number): number => Math.max(SLOT_LEAST, align(2 * contentBytes + LABEL_BYTES, SLOT_UNIT));

export interface Content {
  /** The image's name. */
  readonly name: string;
  readonly bytes: number;
  /** SHA-256 of it, in hex. */
  readonly sum: string;
  /** A root file system in it, where and by which name. */
  readonly root?: { readonly at: number; readonly uuid: string } | undefined;
}

/** Where guest/init/update.h has what (struct label). */
const AT = { magic: 0, disk: 8, bytes: 24, sum: 32, rootAt: 64, root: 72, version: 88, signatureBytes: 152, signature: 156 } as const;
const VERSION_MAX = 63;

/** What an update begins with. It is signed by RSA, which `checkSigner()` has seen to. */
export async function labelOf({ name, bytes, sum, root }: Content, signer: Signer | undefined): Promise<Buffer> {
  const label = Buffer.alloc(LABEL_BYTES);
  label.write('UKLSLOT1', AT.magic, 'latin1');
  guidBytes(diskUuid(name)).copy(label, AT.disk);
  label.writeBigUInt64LE(BigInt(bytes), AT.bytes);
  label.write(sum, AT.sum, 'hex');
  if (root !== undefined) {
    label.writeBigUInt64LE(BigInt(root.at), AT.rootAt);
    guidBytes(root.uuid).copy(label, AT.root);
  }
  label.write(`${name.slice(0, VERSION_MAX - 13)} ${sum.slice(0, 12)}`, AT.version, 'utf8');
  if (signer !== undefined) {
    const signature = sign('sha256', label.subarray(0, AT.signatureBytes), await readFile(signer.key, 'utf8'));
    label.writeUInt32LE(signature.length, AT.signatureBytes);
    signature.copy(label, AT.signature);
  }
  return label;
}

/** The certificate as the kernel reads it; undefined if the two are no pair, no PEM files, not RSA, or the key has a passphrase. */
export async function certificateOf({ key, cert }: Signer): Promise<Buffer | undefined> {
  try {
    const certificate = new X509Certificate(await readFile(cert));
    const own = createPrivateKey(await readFile(key));
    return own.asymmetricKeyType === 'rsa' && certificate.checkPrivateKey(own) ? certificate.raw : undefined;
  } catch {
    return undefined;
  }
}
