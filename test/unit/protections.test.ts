// SPDX-License-Identifier: MIT
/** How configurations of kernels are compared; test/boot/config.test.ts compares ours with Debian's. */
import { describe, expect, test } from 'vitest';
import { readOptions } from '../../src/kernels/kconfig.js';
import { findGaps } from '../protections/debian.js';

const gaps = (ours: string, theirs: readonly string[], hardening = ''): string[] =>
  findGaps(readOptions(ours), theirs.map(readOptions), readOptions(hardening)).map(({ option, theirs: wanted }) => `${option}=${wanted}`);

describe('a kernel is protected less', () => {
  test('without a mitigation that one of the others has', () => {
    const theirs = ['CONFIG_MITIGATION_NEW=y\nCONFIG_MITIGATION_OLD=y\n', '# CONFIG_MITIGATION_NEW is not set\n'];
    expect(gaps('CONFIG_MITIGATION_OLD=y\n', theirs)).toEqual(['MITIGATION_NEW=y']);
    expect(gaps('# CONFIG_MITIGATION_OLD is not set\nCONFIG_MITIGATION_NEW=y\n', theirs)).toEqual(['MITIGATION_OLD=y']);
  });
  test('without what Linux lists and they have, whatever its name', () => {
    expect(gaps('', ['CONFIG_BORON=y\n'], 'CONFIG_BORON=y\nCONFIG_CARBON=y\n')).toEqual(['BORON=y']);
  });
  test('with what Linux says to turn off, even if they have it', () => {
    expect(gaps('CONFIG_PROC_KCORE=y\n', ['CONFIG_PROC_KCORE=y\n'], '# CONFIG_PROC_KCORE is not set\n')).toEqual(['PROC_KCORE=n']);
  });
  test('with less of what there can be more of', () => {
    expect(gaps('CONFIG_DEFAULT_MMAP_MIN_ADDR=4096\n', ['CONFIG_DEFAULT_MMAP_MIN_ADDR=65536\n'])).toEqual(['DEFAULT_MMAP_MIN_ADDR=65536']);
    expect(gaps('CONFIG_DEFAULT_MMAP_MIN_ADDR=65536\n', ['CONFIG_DEFAULT_MMAP_MIN_ADDR=65536\n'])).toEqual([]);
  });
});

test('drivers and what else they have is none of it', () => {
  expect(gaps('', ['CONFIG_CPU_SUP_ZHAOXIN=y\nCONFIG_IMA_DEFAULT_HASH_SHA256=y\nCONFIG_SECURITY_APPARMOR_HASH=y\nCONFIG_USB=m\n'])).toEqual([]);
});
