// The check of packed files, on packages made here: what the packer writes, and what somebody has changed in it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blake3 } from '@noble/hashes/blake3'
import {
  HEADER,
  KINDS,
  MAGIC,
  complete,
  publicKey,
  sighash,
  sign,
  u64,
  varint,
  verified,
} from './s9pk.mjs'

const key = Buffer.alloc(32, 7)
const arch = 'x86_64'
const files = {
  'manifest.json': JSON.stringify({ id: 'spark-control', version: '0.1.0:0' }),
  'icon.svg': '<svg/>',
  'LICENSE.md': 'MIT',
  'instructions.md': '# Read',
  'javascript.squashfs': 'js',
  'assets.squashfs': 'assets',
  images: {
    [arch]: {
      'spark-control.squashfs': 'image',
      'spark-control.json': '{}',
      'spark-control.env': 'A=1',
    },
  },
}

/** As the packer does it: contents first, then the tables of the folders, then the root's. */
function packed(tree) {
  const parts = []
  let at = HEADER
  const put = (bytes) => {
    parts.push(bytes)
    at += bytes.length
    return at - bytes.length
  }
  const folder = (entries) => {
    const list = Object.entries(entries).map(([name, content]) => {
      if (typeof content === 'object') {
        const inner = folder(content)
        return {
          name,
          hash: inner.hash,
          size: inner.table.length,
          kind: KINDS.folder,
          position: put(inner.table),
          tableSize: inner.table.length,
        }
      }
      const bytes = Buffer.from(content)
      return {
        name,
        hash: Buffer.from(blake3(bytes)),
        size: bytes.length,
        kind: KINDS.file,
        position: put(bytes),
      }
    })
    const rows = list.map(({ name, hash, size, kind, position, tableSize }) =>
      Buffer.concat([
        varint(Buffer.byteLength(name)),
        Buffer.from(name),
        hash,
        u64(size),
        Buffer.from([kind]),
        u64(position),
        ...(kind === KINDS.folder ? [u64(tableSize)] : []),
      ]),
    )
    return {
      hash: sighash(list),
      table: Buffer.concat([varint(list.length), ...rows]),
    }
  }
  const root = folder(tree)
  const position = put(root.table)
  const limit = root.table.length
  const header = [
    Buffer.from(MAGIC),
    publicKey(key),
    sign(root.hash, limit, key),
    root.hash,
    u64(limit),
    u64(position),
    u64(root.table.length),
  ]
  return Buffer.concat([...header, ...parts])
}

test('what was packed is found again, whole', () => {
  const found = verified(packed(files))
  assert.equal(complete(found, arch).version, '0.1.0:0')
  assert.equal(
    found.get(`images/${arch}/spark-control.squashfs`).toString(),
    'image',
  )
  assert.throws(() => complete(found, 'aarch64'), /has no images\/aarch64/)
})

test('a changed bit is noticed wherever it is', () => {
  const good = packed(files)
  for (let at = 0; at < good.length; at += 1) {
    const changed = Buffer.from(good)
    changed[at] ^= 1
    assert.throws(() => verified(changed), undefined, `byte ${at}`)
  }
  for (const length of [0, 3, HEADER, good.length - 1]) {
    assert.throws(
      () => verified(good.subarray(0, length)),
      undefined,
      `${length} bytes`,
    )
  }
})
