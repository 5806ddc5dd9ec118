// SPDX-License-Identifier: MIT
/** Asks a server over TLS; Node.js trusts the authority in NODE_EXTRA_CA_CERTS. */
const [url = ''] = process.argv.slice(2);

const response = await fetch(url);
console.log(response.status, await response.text());
