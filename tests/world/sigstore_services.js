// Fulcio, its certificate transparency log and Rekor on loopback, from @sigstore/mock. And below
// /private/ an instance without logs: Fulcio and a timestamp authority, as GitHub has it for private
// repositories. Says its port on the first line of stdout; GET /trusted_root.json and
// /private/trusted_root.json are what verifiers trust.
// Ends when stdin does, so that it never outlives the tests.
const crypto = require('crypto');
const http = require('http');
const {
  fulcioHandler, initializeCA, initializeCTLog, initializeTLog, initializeTSA, rekorHandler, tsaHandler,
} = require('@sigstore/mock');

const P256 = 'PKIX_ECDSA_P256_SHA_256';
const keys = () => crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest();
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

// Rekor logs digests in place of the envelope (rekor, pkg/types/dsse/v0.0.1); the mock logs what
// it is sent.
function canonical(proposed) {
  const { envelope, verifiers } = proposed.spec.proposedContent;
  const { payload, signatures } = JSON.parse(envelope);
  const hash = (bytes) => ({ algorithm: 'sha256', value: sha256(bytes).toString('hex') });
  return {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: {
      envelopeHash: hash(envelope),
      payloadHash: hash(Buffer.from(payload, 'base64')),
      signatures: signatures.map(({ sig }) => ({ signature: sig, verifier: verifiers[0] })),
    },
  };
}

// Clients send their token in a header, and sigstore-python its request as base64 of PEM, as
// Fulcio's API allows; the mock reads neither.
function certificateRequest(request, body) {
  const oidcIdentityToken = (request.headers.authorization || '').replace(/^Bearer /, '');
  const asked = { credentials: { oidcIdentityToken }, ...JSON.parse(body) };
  const csr = asked.certificateSigningRequest;
  if (csr) asked.certificateSigningRequest = Buffer.from(csr, 'base64').toString();
  return JSON.stringify(asked);
}

// The mock's log has one entry, whose proof is all zero and empty: cosign's protobuf JSON leaves
// that out, and sigstore-python wants it. Here every entry is the second of two (RFC 6962, 2.1).
function inclusionProof({ body, timestamp, logID }) {
  const first = sha256(Buffer.from([0, 0]));
  const leaf = sha256(Buffer.concat([Buffer.from([0]), body]));
  const root = sha256(Buffer.concat([Buffer.from([1]), first, leaf]));
  const note = `${this.host} - 1\n2\n${base64(root)}\nTimestamp: ${timestamp}000000000\n`;
  const signature = crypto.sign('sha256', Buffer.from(note), this.privateKey);
  const signed = base64(Buffer.concat([logID.subarray(0, 4), signature]));
  return {
    logIndex: 1,
    treeSize: 2,
    hashes: [first.toString('hex')],
    rootHash: root.toString('hex'),
    checkpoint: `${note}\n\u2014 ${this.host} ${signed}\n`,
  };
}

function trusted(url, start, ...certificates) {
  return {
    subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
    uri: url,
    certChain: { certificates: certificates.map((one) => ({ rawBytes: base64(one) })) },
    validFor: { start },
  };
}

function log(publicKey, url, start) {
  return {
    baseUrl: url,
    hashAlgorithm: 'SHA2_256',
    publicKey: { rawBytes: base64(publicKey), keyDetails: P256, validFor: { start } },
    logId: { keyId: base64(sha256(publicKey)) },
  };
}

async function main() {
  const ctLog = await initializeCTLog(keys());
  const authority = await initializeCA(keys(), ctLog);
  const rekor = await initializeTLog('http://127.0.0.1', keys());
  rekor.calculateInclusionProof = inclusionProof;
  const fulcio = fulcioHandler(authority, { subjectClaim: 'identity' });
  const entries = rekorHandler(rekor);
  const privateAuthority = await initializeCA(keys(), undefined);
  const privateFulcio = fulcioHandler(privateAuthority, { subjectClaim: 'identity' });
  const timestamps = await initializeTSA(keys());
  const clock = tsaHandler(timestamps);
  const start = new Date(Date.now() - 3600_000).toISOString();

  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const url = `http://127.0.0.1:${server.address().port}`;
    let answer = { statusCode: 404, response: '' };
    if (request.url === '/trusted_root.json') {
      answer = {
        statusCode: 200,
        response: JSON.stringify({
          mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
          tlogs: [log(rekor.publicKey, url, start)],
          certificateAuthorities: [trusted(url, start, authority.rootCertificate)],
          ctlogs: [log(ctLog.publicKey, url, start)],
        }),
      };
    } else if (request.url === '/private/trusted_root.json') {
      answer = {
        statusCode: 200,
        response: JSON.stringify({ // as protobuf's JSON has it: what is empty is left out
          mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
          certificateAuthorities: [trusted(url, start, privateAuthority.rootCertificate)],
          timestampAuthorities: [
            trusted(url, start, timestamps.intCertificate, timestamps.rootCertificate),
          ],
        }),
      };
    } else if (request.url === `/private${privateFulcio.path}`) {
      answer = await privateFulcio.fn(certificateRequest(request, body));
    } else if (request.url === `/private${clock.path}`) {
      answer = await clock.fn(body);
    } else if (request.url === fulcio.path) {
      answer = await fulcio.fn(certificateRequest(request, body));
      if (answer.statusCode === 201) answer.statusCode = 200; // what Fulcio says; cosign insists
    } else if (request.url.replace(/\/$/, '') === entries.path) {
      answer = await entries.fn(JSON.stringify(canonical(JSON.parse(body))));
      const [uuid] = Object.keys(JSON.parse(answer.response)); // cosign reads it from the header
      response.setHeader('ETag', uuid);
      response.setHeader('Location', `${entries.path}/${uuid}`);
    }
    response.writeHead(answer.statusCode, { 'Content-Type': answer.contentType || 'application/json' });
    response.end(answer.response);
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

main();
