// SPDX-License-Identifier: MIT
/** KubeVirt: a virtual machine whose kernel comes out of a container image, which has all else in it. */
import { shellQuote } from '../../lib/shell.js';
import { UNIKERNEL_FILE } from '../../oci/unikernel.js';
import { type DeployParts, HEALTH, ifFound, openPorts, type Platform } from '../platform.js';
import { kustomizationOf } from './kustomize.js';
import { checkOf, serviceOf } from './manifests.js';
import { IMAGE, pinned, push, SKOPEO } from './registry.js';
import { KUBECTL, NAMESPACE } from './settings.js';

const q = shellQuote;

/** Without these, a kernel that is started as such has QEMU's addresses and says nothing. */
const KERNEL_ARGS = 'UKL_NETWORK=dhcp console=ttyS0 panic=10';

const upper = (protocol: string): string => protocol.toUpperCase();

function machine(parts: DeployParts, labels: object): object {
  const { name, memoryMiB, cpus, settings } = parts;
  const ports = openPorts(parts);
  const check = checkOf({ ports, health: settings.health ?? '' });
  const probes =
    check === undefined
      ? {}
      : {
          readinessProbe: { ...check, periodSeconds: 5, failureThreshold: 2 },
          livenessProbe: { ...check, initialDelaySeconds: 60, periodSeconds: 10, failureThreshold: 3 },
        };
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name, labels },
    spec: {
      runStrategy: 'Always',
      template: {
        metadata: { labels },
        spec: {
          // Nothing in the guest listens to the power button.
          terminationGracePeriodSeconds: 0,
          domain: {
            cpu: { cores: cpus },
            memory: { guest: `${memoryMiB}Mi` },
            firmware: { kernelBoot: { container: { image: pinned(parts), kernelPath: UNIKERNEL_FILE }, kernelArgs: KERNEL_ARGS } },
            devices: {
              rng: {},
              autoattachGraphicsDevice: false,
              logSerialConsole: true,
              interfaces: [
                {
                  name: 'default',
                  masquerade: {},
                  // Of an empty list, KubeVirt makes all ports.
                  ...(ports.length > 0 ? { ports: ports.map(({ guest, protocol }) => ({ port: guest, protocol: upper(protocol) })) } : {}),
                },
              ],
            },
          },
          networks: [{ name: 'default', pod: {} }],
          ...probes,
        },
      },
    },
  };
}

/** kubevirt.io/user-guide: "Boot from kernel/initrd container", "Interfaces and Networks". */
export const kubevirt: Platform = {
  name: 'kubevirt',
  title: 'KubeVirt',
  containers: ['oci'],
  tools: [SKOPEO, KUBECTL],
  settings: [IMAGE, NAMESPACE, HEALTH],
  plan: (parts) => {
    const { name, settings } = parts;
    const { namespace = '' } = settings;
    const labels = { 'app.kubernetes.io/name': name, 'app.kubernetes.io/instance': name };
    const ports = openPorts(parts);
    const objects = [
      { name: 'machine', content: machine(parts, labels) },
      ...(ports.length > 0 ? [{ name: 'service', content: serviceOf(name, labels, ports) }] : []),
    ];
    const inNamespace = `--namespace ${q(namespace)}`;
    // One that runs goes on with what it was started with. Of a machine that is to run always, another instance is made.
    const restart = ifFound(parts, [`kubectl delete virtualmachineinstances.kubevirt.io ${name} ${inNamespace} --ignore-not-found`]);
    return {
      files: kustomizationOf(namespace, objects),
      occupied: `kubectl get virtualmachines.kubevirt.io ${name} ${inNamespace} --ignore-not-found --output name`,
      script: `${push(parts)}kubectl apply --kustomize base
${restart}kubectl wait virtualmachines.kubevirt.io/${name} --for condition=Ready ${inNamespace} --timeout 5m
`,
    };
  },
};
