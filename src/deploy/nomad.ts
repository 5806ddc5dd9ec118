// SPDX-License-Identifier: MIT
/** Nomad: its driver for QEMU starts a disk, which each client fetches from a web server. */
import { shellQuote } from '../lib/shell.js';
import { type DeployParts, HEALTH, type OpenPort, openPorts, type Platform, wholeNumber } from './platform.js';

const q = shellQuote;

/** HCL's strings are JSON's, with places for expressions besides. */
const text = (value: string): string => JSON.stringify(value).replaceAll(/([$%])(?=\{)/g, '$1$1');

const block = (head: string, lines: readonly string[]): readonly string[] => [`${head} {`, ...lines.map((line) => `  ${line}`), '}'];

const labelOf = ({ protocol, guest }: OpenPort): string => `${protocol}_${guest}`;

/** Words for QEMU. The driver's port_map does nothing with the ports of a group (hashicorp/nomad#9715): they are forwarded here. */
function argumentsOf(cpus: number, ports: readonly OpenPort[]): string {
  const forwards = ports.map((port) => `,hostfwd=${port.protocol}::\${NOMAD_HOST_PORT_${labelOf(port)}}-:${port.guest}`).join('');
  const network = ['-netdev', `user,id=user.0${forwards}`, '-device', 'virtio-net-pci,netdev=user.0'];
  return ['-smp', String(cpus), '-device', 'virtio-rng-pci', ...network].map((word) => JSON.stringify(word)).join(', ');
}

/** What the driver takes at least. */
const LEAST_MIB = 128;

function taskOf({ name, cpus, memoryMiB, settings }: DeployParts, ports: readonly OpenPort[]): readonly string[] {
  const { url = '', accelerator = '' } = settings;
  const file = `${name}.qcow2`;
  const artifact = [`source = ${text(`${url}/${file}`)}`, `destination = ${text(`local/${file}`)}`, 'mode = "file"'];
  const config = [`image_path = ${text(`local/${file}`)}`, `accelerator = ${text(accelerator)}`, 'drive_interface = "virtio"'];
  return [
    'driver = "qemu"',
    ...block('artifact', [...artifact, ...block('options', ['checksum = var.checksum'])]),
    ...block('config', [...config, `args = [${argumentsOf(cpus, ports)}]`]),
    ...block('resources', [`cpu = ${cpus * 1000}`, `memory = ${Math.max(LEAST_MIB, memoryMiB)}`]),
  ];
}

/** Found by Nomad's own registry; asked by the first TCP port whether it answers. */
function serviceOf({ name, settings: { health = '' } }: DeployParts, ports: readonly OpenPort[]): readonly string[] {
  const asked = ports.find(({ protocol }) => protocol === 'tcp');
  const port = asked ?? ports[0];
  if (port === undefined) return [];
  const kind = health === '' ? ['type = "tcp"'] : ['type = "http"', `path = ${text(health)}`];
  const check = asked === undefined ? [] : block('check', [...kind, 'interval = "10s"', 'timeout = "2s"']);
  return block('service', [`name = ${text(name)}`, `port = ${text(labelOf(port))}`, 'provider = "nomad"', ...check]);
}

/** developer.hashicorp.com/nomad: "Job specification", "QEMU task driver". */
function job(parts: DeployParts): string {
  const { name, settings } = parts;
  const ports = openPorts(parts);
  const labels = ports.flatMap((port) => block(`port ${text(labelOf(port))}`, []));
  const group = [
    `count = ${settings.count}`,
    ...(ports.length > 0 ? block('network', labels) : []),
    ...serviceOf(parts, ports),
    ...block(`task ${text(name)}`, taskOf(parts, ports)),
  ];
  const lines = [
    ...block('variable "checksum"', ['type = string', 'description = "of the disk: another one makes another version of the job"']),
    ...block(`job ${text(name)}`, ['type = "service"', 'datacenters = ["*"]', ...block(`group ${text(name)}`, group)]),
  ];
  return `${lines.join('\n')}\n`;
}

export const nomad: Platform = {
  name: 'nomad',
  title: 'Nomad',
  containers: ['qcow2'],
  tools: [{ command: 'nomad', from: 'developer.hashicorp.com/nomad' }],
  settings: [
    { name: 'directory', help: "directory of a web server's" },
    { name: 'url', help: 'where clients see it', takes: (value) => /^https?:\/\/[^\s"']*[^\s"'/]$/.test(value) },
    { name: 'count', help: 'instances', byDefault: '1', takes: wholeNumber(0, 10_000) },
    { name: 'accelerator', help: 'kvm or tcg', byDefault: 'kvm', takes: (value) => /^(kvm|tcg)$/.test(value) },
    HEALTH,
  ],
  plan: (parts) => {
    const { name, files, settings } = parts;
    const { directory = '' } = settings;
    const disk = q(`${directory}/${name}.qcow2`);
    return {
      files: { 'job.nomad.hcl': job(parts) },
      occupied: `nomad job status | awk ${q(`$1 == "${name}" && $4 != "dead" { print $1 }`)}`,
      script: `install -D -m 0644 ${q(files.qcow2 ?? '')} ${disk}
checksum=sha256:$(sha256sum ${disk} | cut -d ' ' -f 1)
nomad job run -var "checksum=$checksum" job.nomad.hcl
`,
    };
  },
};
