// SPDX-License-Identifier: MIT
/** Names as Kubernetes takes them, and settings that its platforms share. */
import type { Setting, Tool } from '../platform.js';

/** RFC 1123. */
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const isDomain = (text: string): boolean => text.length <= 253 && text.split('.').every((label) => LABEL.test(label));

export const NAMESPACE: Setting = { name: 'namespace', help: 'namespace', byDefault: 'default', takes: (value) => LABEL.test(value) };
export const KUBECTL: Tool = { command: 'kubectl', from: 'kubernetes.io' };
