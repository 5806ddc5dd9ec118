// SPDX-License-Identifier: MIT
/** Amazon EC2, Google Compute Engine, Azure: an image is uploaded, registered, and started once. */
import { shellQuote } from '../lib/shell.js';
import { ifFound, openPorts, type Platform } from './platform.js';

const q = shellQuote;

/** docs.aws.amazon.com: "Importing a disk as a snapshot", "register-image". The disk's bucket needs the role vmimport. */
export const aws: Platform = {
  name: 'aws',
  title: 'Amazon EC2',
  containers: ['disk'],
  tools: [{ command: 'aws', from: 'docs.aws.amazon.com/cli' }],
  settings: [
    { name: 'bucket', help: 'S3 bucket that the disk goes through' },
    { name: 'region', help: 'region', byDefault: 'eu-central-1' },
    { name: 'type', help: 'type of the instance', byDefault: 't3.micro' },
  ],
  plan: (parts) => {
    const { name, files, settings } = parts;
    const { bucket = '', region = '', type = '' } = settings;
    const rules = openPorts(parts).map(
      ({ guest, protocol }) =>
        `aws ec2 authorize-security-group-ingress --group-id "$group" --protocol ${protocol} --port ${guest} --cidr 0.0.0.0/0 > /dev/null`,
    );
    return {
      files: {},
      occupied: `aws ec2 describe-instances --region ${q(region)} --filters ${q(`Name=tag:Name,Values=${name}`)} Name=instance-state-name,Values=pending,running,stopping,stopped --query 'Reservations[].Instances[].InstanceId' --output text`,
      script: `export AWS_DEFAULT_REGION=${q(region)}
aws s3 cp ${q(files.disk ?? '')} ${q(`s3://${bucket}/${name}.raw`)}
task=$(aws ec2 import-snapshot --description ${q(name)} --disk-container ${q(`Format=raw,UserBucket={S3Bucket=${bucket},S3Key=${name}.raw}`)} --query ImportTaskId --output text)
aws ec2 wait snapshot-imported --import-task-ids "$task"
snapshot=$(aws ec2 describe-import-snapshot-tasks --import-task-ids "$task" --query 'ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId' --output text)
image=$(aws ec2 register-image --name ${q(name)}-"$(date +%s)" --architecture x86_64 --virtualization-type hvm --boot-mode uefi-preferred --ena-support --root-device-name /dev/xvda --block-device-mappings "DeviceName=/dev/xvda,Ebs={SnapshotId=$snapshot,VolumeType=gp3,DeleteOnTermination=true}" --query ImageId --output text)
group=$(aws ec2 create-security-group --group-name ${q(name)}-"$(date +%s)" --description ${q(`${name}, by ukl`)} --query GroupId --output text)
${rules.join('\n')}
instance=$(aws ec2 run-instances --image-id "$image" --instance-type ${q(type)} --security-group-ids "$group" --metadata-options HttpTokens=required --tag-specifications ${q(`ResourceType=instance,Tags=[{Key=Name,Value=${name}}]`)} --query 'Instances[0].InstanceId' --output text)
aws ec2 wait instance-running --instance-ids "$instance"
${ifFound(parts, ['aws ec2 terminate-instances --instance-ids $found > /dev/null'])}aws ec2 describe-instances --instance-ids "$instance" --query 'Reservations[0].Instances[0].[InstanceId,PublicIpAddress]' --output text
`,
    };
  },
};

/** cloud.google.com: "Manually import boot disks", "gcloud compute images create". */
export const gcp: Platform = {
  name: 'gcp',
  title: 'Google Compute Engine',
  containers: ['gce-tar'],
  tools: [
    { command: 'gcloud', from: 'cloud.google.com/sdk' },
    { command: 'gsutil', from: 'cloud.google.com/sdk' },
  ],
  settings: [
    { name: 'bucket', help: 'bucket that the disk goes through' },
    { name: 'project', help: 'project' },
    { name: 'zone', help: 'zone', byDefault: 'europe-west3-a' },
    { name: 'type', help: 'type of the machine', byDefault: 'e2-micro' },
  ],
  plan: (parts) => {
    const { name, files, settings } = parts;
    const { bucket = '', project = '', zone = '', type = '' } = settings;
    const allowed = openPorts(parts).map(({ guest, protocol }) => `${protocol}:${guest}`);
    return {
      files: {},
      occupied: `gcloud compute instances list --project ${q(project)} --zones ${q(zone)} --filter ${q(`name=${name}`)} --format 'value(name)'`,
      script: `gsutil cp ${q(files['gce-tar'] ?? '')} ${q(`gs://${bucket}/${name}.tar.gz`)}
image=${q(name)}-$(date +%s)
gcloud compute images create "$image" --project ${q(project)} --source-uri ${q(`gs://${bucket}/${name}.tar.gz`)} --guest-os-features UEFI_COMPATIBLE,GVNIC,VIRTIO_SCSI_MULTIQUEUE --architecture X86_64
${allowed.length === 0 ? '' : `gcloud compute firewall-rules describe ${q(`ukl-${name}`)} --project ${q(project)} > /dev/null 2>&1 || gcloud compute firewall-rules create ${q(`ukl-${name}`)} --project ${q(project)} --allow ${q(allowed.join(','))} --target-tags ${q(`ukl-${name}`)}\n`}${ifFound(parts, [`gcloud compute instances delete ${q(name)} --project ${q(project)} --zone ${q(zone)} --quiet`])}gcloud compute instances create ${q(name)} --project ${q(project)} --zone ${q(zone)} --machine-type ${q(type)} --image "$image" --image-project ${q(project)} --network-interface nic-type=GVNIC --tags ${q(`ukl-${name}`)} --metadata serial-port-enable=TRUE --format 'value(name,networkInterfaces[0].accessConfigs[0].natIP)'
`,
    };
  },
};

/**
 * learn.microsoft.com: "Upload a VHD to Azure", "az vm create". A VHD for it is fixed, and whole megabytes. The
 * disk is attached as it is: of an image, Azure would wait for an agent in the guest.
 */
export const azure: Platform = {
  name: 'azure',
  title: 'Microsoft Azure',
  containers: ['vhd'],
  tools: [{ command: 'az', from: 'learn.microsoft.com/cli/azure' }],
  settings: [
    { name: 'account', help: 'storage account' },
    { name: 'storage', help: "the account's container", byDefault: 'vhds' },
    { name: 'group', help: 'resource group' },
    { name: 'region', help: 'location', byDefault: 'germanywestcentral' },
    { name: 'type', help: 'size of the machine', byDefault: 'Standard_B1s' },
  ],
  plan: (parts) => {
    const { name, files, settings } = parts;
    const { account = '', storage = '', group = '', region = '', type = '' } = settings;
    const opened = openPorts(parts)
      .filter(({ protocol }) => protocol === 'tcp')
      .map(({ guest }, index) => `az vm open-port --resource-group ${q(group)} --name ${q(name)} --port ${guest} --priority ${900 + index} --output none`);
    const machine = `--resource-group ${q(group)} --name ${q(name)}`;
    return {
      files: {},
      occupied: `az vm list --resource-group ${q(group)} --query ${q(`[?name=='${name}'].name`)} --output tsv`,
      script: `az storage blob upload --account-name ${q(account)} --container-name ${q(storage)} --name ${q(`${name}.vhd`)} --file ${q(files.vhd ?? '')} --type page --overwrite --output none
disk=${q(name)}-$(date +%s)
az disk create --resource-group ${q(group)} --location ${q(region)} --name "$disk" --os-type Linux --hyper-v-generation V2 --source ${q(`https://${account}.blob.core.windows.net/${storage}/${name}.vhd`)} --output none
${ifFound(parts, [
  `old=$(az vm show ${machine} --query storageProfile.osDisk.managedDisk.id --output tsv)`,
  `az vm delete ${machine} --yes --output none`,
  'az disk delete --ids "$old" --yes --output none',
])}az vm create --resource-group ${q(group)} --location ${q(region)} --name ${q(name)} --attach-os-disk "$disk" --os-type linux --size ${q(type)} --output none
${opened.map((line) => `${line}\n`).join('')}az vm show --resource-group ${q(group)} --name ${q(name)} --show-details --query '[name,publicIps]' --output tsv
`,
    };
  },
};
