// SPDX-License-Identifier: MIT

/** Every failure that a user can meet. docs/errors.md has a section for each. */
export type ErrorCode =
  /** The command line or the configuration asks for something impossible. */
  | 'UKL_USAGE'
  | 'UKL_CONFIG'
  /** The machine lacks something; `ukl doctor` tells what. */
  | 'UKL_PACKAGES'
  | 'UKL_DISK_FULL'
  /** The host's kernel refused something: no such file, permission denied. */
  | 'UKL_HOST'
  /** The sources are not what they should be, or the series does not apply. */
  | 'UKL_SOURCE'
  | 'UKL_PATCH'
  | 'UKL_KERNEL_CONFIG'
  /** A program that we run (make, gcc, mkfs, ...) failed. */
  | 'UKL_COMMAND'
  | 'UKL_COMPILE'
  /** A shortcut calls what the kernel does not export to it. */
  | 'UKL_SHORTCUT'
  /** What was handed in cannot be run. */
  | 'UKL_NO_TARGET'
  | 'UKL_NOT_ELF'
  | 'UKL_WRONG_ARCH'
  | 'UKL_MISSING_LIBRARY'
  | 'UKL_NO_FILE'
  | 'UKL_IMAGE'
  /** A registry of container images refused something, or cannot be reached. */
  | 'UKL_REGISTRY'
  /** The guest could not be started. */
  | 'UKL_PORT_TAKEN'
  | 'UKL_MEMORY'
  | 'UKL_DISK'
  | 'UKL_VOLUME'
  | 'UKL_ACCEL'
  | 'UKL_VMM'
  /** A defect of ukl itself. */
  | 'UKL_BUG';

export interface UklErrorOptions {
  /** The next command to type, or what to change. */
  readonly hint?: string;
  /** Lines that show the cause: a compiler's words, the end of a log. */
  readonly details?: string;
  /** The full log of what failed. */
  readonly log?: string;
  readonly cause?: unknown;
}

/** The one error class: what happened, why, and what to do next. */
export class UklError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: string | undefined;
  readonly log: string | undefined;

  constructor(code: ErrorCode, message: string, options: UklErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'UklError';
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
    this.log = options.log;
  }
}

/** The errno name of a failed system call ("ENOENT"), if that is what it was. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** What people have to mend, for errno names that say what is wrong with a path. */
const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'check the path; make the directory with mkdir -p',
  ENOTDIR: 'a part of the path is a file: name another',
  EISDIR: 'the path is a directory: name a file in it',
  EEXIST: 'the path exists already: remove it, or name another',
  EACCES: 'make the path writable for this user, or name another',
  EPERM: 'make the path writable for this user, or name another',
  EROFS: 'the file system is read-only: name a path on another',
  ENAMETOOLONG: 'the path is too long: name a shorter one',
  EMFILE: 'too many files are open: raise the limit with ulimit -n',
};

/** A system call on a path that failed for a reason of the host's. */
function refusalOf(error: unknown): UklError | undefined {
  const hint = HINTS[errnoOf(error) ?? ''];
  if (hint === undefined || !(error instanceof Error) || !('path' in error)) return undefined;
  return new UklError('UKL_HOST', `${String(error.path)}: ${error.message.replace(/^[A-Z]+: /, '').replace(/,.*/s, '')}`, { hint, cause: error });
}

/** Results, what is made on the way, and what is kept may be on different disks. */
export const DISK_FULL_HINT = 'free some space where the result goes, for temporary files (TMPDIR) or in the store; UKL_STORE moves that';

/** Any thrown value as a UklError; what is not one already is a bug of ours. */
export function asUklError(error: unknown): UklError {
  if (error instanceof UklError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (errnoOf(error) === 'ENOSPC') {
    return new UklError('UKL_DISK_FULL', `no space left on the device: ${message}`, {
      hint: DISK_FULL_HINT,
      cause: error,
    });
  }
  const refused = refusalOf(error);
  if (refused !== undefined) return refused;
  return new UklError('UKL_BUG', message, {
    hint: 'this is a bug in ukl: please report it with the output of the same command and --debug',
    cause: error,
  });
}
