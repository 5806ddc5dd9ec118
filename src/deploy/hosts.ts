// SPDX-License-Identifier: MIT
/** Machines of one's own: Proxmox, libvirt, and whatever boots from the network. */
import { basename } from 'node:path';
import { shellQuote } from '../lib/shell.js';
import { ifFound, type Platform } from './platform.js';

const q = shellQuote;

/** pve.proxmox.com: qm(1), of version 7.2 or later. Run on the host. */
export const proxmox: Platform = {
  name: 'proxmox',
  title: 'Proxmox VE, on its host',
  containers: ['qcow2'],
  tools: [{ command: 'qm', from: 'Proxmox VE' }],
  settings: [
    { name: 'vmid', help: 'number of the machine' },
    { name: 'storage', help: 'storage for the disk', byDefault: 'local-lvm' },
    { name: 'bridge', help: 'bridge of the network', byDefault: 'vmbr0' },
  ],
  plan: (parts) => {
    const { name, files, memoryMiB, cpus, settings } = parts;
    const { vmid = '', storage = '', bridge = '' } = settings;
    return {
      files: {},
      occupied: `qm list | awk ${q(`$1 == "${vmid}" { print $2 }`)}`,
      // Its other disks stay.
      script: `${ifFound(
        parts,
        [
          `[ "$found" = ${q(name)} ] || { echo ${q(`${vmid} is another machine, which stays: `)}"$found" >&2; exit 1; }`,
          `qm stop ${q(vmid)}`,
          `qm disk unlink ${q(vmid)} --idlist scsi0 --force 1`,
        ],
        [
          `qm create ${q(vmid)} --name ${q(name)} --memory ${memoryMiB} --cores ${cpus} --cpu host --machine q35 --ostype l26 --net0 ${q(`virtio,bridge=${bridge}`)} --serial0 socket --vga serial0 --scsihw virtio-scsi-single`,
        ],
      )}qm set ${q(vmid)} --scsi0 ${q(`${storage}:0,import-from=${files.qcow2 ?? ''}`)} --boot order=scsi0
qm start ${q(vmid)}
`,
    };
  },
};

const escapeXml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll("'", '&apos;');

/** libvirt.org/formatdomain.html. */
function domain(name: string, disk: string, memoryMiB: number, cpus: number, network: string): string {
  return `<domain type='kvm'>
  <name>${escapeXml(name)}</name>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>${cpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features><acpi/><apic/></features>
  <cpu mode='host-passthrough'/>
  <on_reboot>restart</on_reboot>
  <on_crash>restart</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${escapeXml(disk)}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'>
      <source network='${escapeXml(network)}'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <watchdog model='i6300esb' action='reset'/>
  </devices>
</domain>
`;
}

export const libvirt: Platform = {
  name: 'libvirt',
  title: 'libvirt, on its host',
  containers: ['qcow2'],
  tools: [{ command: 'virsh', from: "Debian's libvirt-clients" }],
  settings: [
    { name: 'uri', help: 'connection', byDefault: 'qemu:///system' },
    { name: 'pool', help: 'directory for the disk', byDefault: '/var/lib/libvirt/images' },
    { name: 'network', help: 'network', byDefault: 'default' },
  ],
  plan: (parts) => {
    const { name, files, memoryMiB, cpus, settings } = parts;
    const { uri = '', pool = '', network = '' } = settings;
    const disk = `${pool}/${name}.qcow2`;
    return {
      files: { 'domain.xml': domain(name, disk, memoryMiB, cpus, network) },
      occupied: `virsh --connect ${q(uri)} list --all --name | grep -Fx ${q(name)} || true`,
      // Its definition stays, with what else it has.
      script: `${ifFound(parts, [`virsh --connect ${q(uri)} destroy ${q(name)} || true`])}install -m 0644 ${q(files.qcow2 ?? '')} ${q(disk)}
${ifFound(parts, [], [`virsh --connect ${q(uri)} define domain.xml`])}virsh --connect ${q(uri)} start ${q(name)}
virsh --connect ${q(uri)} domifaddr ${q(name)} || true
`,
    };
  },
};

/** ipxe.org/scripting. By BIOS the image is a kernel, which has QEMU's addresses unless it is told otherwise; by UEFI, an EFI program. */
export const pxe: Platform = {
  name: 'pxe',
  title: 'machines that boot from the network by iPXE',
  containers: ['bzImage', 'uki'],
  tools: [],
  settings: [
    { name: 'directory', help: "directory of a web server's" },
    { name: 'url', help: 'where machines see it' },
  ],
  plan: ({ name, files, settings: { directory = '', url = '' } }) => ({
    files: {
      'boot.ipxe': `#!ipxe
iseq \${platform} efi && goto efi ||
kernel ${url}/${name}.bz UKL_NETWORK=dhcp console=tty0 console=ttyS0 panic=10
boot
:efi
chain ${url}/${name}.efi
`,
    },
    script: `install -D -m 0644 ${q(files.bzImage ?? '')} ${q(`${directory}/${name}.bz`)}
install -D -m 0644 ${q(files.uki ?? '')} ${q(`${directory}/${name}.efi`)}
install -D -m 0644 boot.ipxe ${q(`${directory}/boot.ipxe`)}
echo ${q(`DHCP option 67, or chain in iPXE: ${url}/${basename('boot.ipxe')}`)}
`,
  }),
};
