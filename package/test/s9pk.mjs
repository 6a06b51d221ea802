// The second version of StartOS's package format, as far as a check of what was packed needs it.
//
//   3b 3b 02 | key 32 | signature 64 | root hash 32 | root size limit u64 | root table position u64 | size u64
//   table: count, then for each entry: length and name, hash 32, size u64, kind u8, and where it is
//
// Numbers without a width are LEB128; all others are big-endian. A file's hash is BLAKE3 of it; a folder's is BLAKE3 of its table,
// sorted by name and without places. The signature is Ed25519ph of root hash and size limit, in the context `s9pk`.

import { ed25519ph } from '@noble/curves/ed25519'
import { blake3 } from '@noble/hashes/blake3'

export const MAGIC = [0x3b, 0x3b, 0x02]
export const HEADER = 155
export const KINDS = { missing: 0, file: 1, folder: 2 }
const CONTEXT = new TextEncoder().encode('s9pk')
/** More is no root table. */
const MOST_ROOT = 1n << 20n

export const u64 = (number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(number))
  return bytes
}

export const varint = (number) => {
  const bytes = []
  for (let rest = number; ; rest >>>= 7) {
    bytes.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80)
    if (rest < 0x80) return Buffer.from(bytes)
  }
}

const named = (name) =>
  Buffer.concat([varint(Buffer.byteLength(name)), Buffer.from(name)])

/** What a folder's hash is of. */
export function sighash(entries) {
  const sorted = [...entries].sort((one, other) =>
    Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)),
  )
  const parts = sorted.map(({ name, hash, size }) =>
    Buffer.concat([named(name), hash, u64(size), Buffer.from([KINDS.missing])]),
  )
  return Buffer.from(blake3(Buffer.concat([varint(sorted.length), ...parts])))
}

/** What is signed, after SHA-512. */
export const signed = (root, limit) => Buffer.concat([root, u64(limit)])

export const sign = (root, limit, key) =>
  Buffer.from(ed25519ph.sign(signed(root, limit), key, { context: CONTEXT }))
export const publicKey = (key) => Buffer.from(ed25519ph.getPublicKey(key))

function reader(bytes, from, size) {
  const end = from + size
  let at = from
  const take = (length) => {
    if (at + length > end || end > bytes.length)
      throw new Error('a table ends early')
    at += length
    return bytes.subarray(at - length, at)
  }
  return {
    take,
    left: () => end - at,
    u64: () => Number(take(8).readBigUInt64BE()),
    varint: () => {
      let number = 0
      for (let shift = 0; shift < 28; shift += 7) {
        const [byte] = take(1)
        number |= (byte & 0x7f) << shift
        if (byte < 0x80) return number
      }
      throw new Error('a number is too long')
    },
  }
}

function table(bytes, position, size) {
  const read = reader(bytes, position, size)
  const entries = Array.from({ length: read.varint() }, () => {
    const name = read.take(read.varint()).toString()
    const hash = read.take(32)
    const length = read.u64()
    const [kind] = read.take(1)
    const place = kind === KINDS.missing ? null : read.u64()
    const tableSize = kind === KINDS.folder ? read.u64() : null
    return { name, hash, size: length, kind, position: place, tableSize }
  })
  if (read.left() > 0) throw new Error('a table is longer than what is in it')
  return entries
}

function walk(bytes, position, size, hash, path, files) {
  const entries = table(bytes, position, size)
  if (!sighash(entries).equals(hash))
    throw new Error(
      `${path || 'the root'}: its table is not what its hash says`,
    )
  for (const entry of entries) {
    const name = `${path}${entry.name}`
    if (entry.tableSize !== null && entry.tableSize !== entry.size) {
      throw new Error(`${name} has a table of another size than was signed`)
    }
    if (entry.kind === KINDS.folder) {
      walk(bytes, entry.position, entry.size, entry.hash, `${name}/`, files)
      continue
    }
    if (entry.kind !== KINDS.file) throw new Error(`${name} is missing`)
    const content = bytes.subarray(entry.position, entry.position + entry.size)
    if (
      content.length !== entry.size ||
      !Buffer.from(blake3(content)).equals(entry.hash)
    ) {
      throw new Error(`${name} is not what its hash says`)
    }
    files.set(name, content)
  }
}

/** Every file of a package, by its path. Throws what is wrong with it. */
export function verified(bytes) {
  if (bytes.length < HEADER || !bytes.subarray(0, 3).equals(Buffer.from(MAGIC)))
    throw new Error('this is no package')
  const [key, signature, root] = [
    bytes.subarray(3, 35),
    bytes.subarray(35, 99),
    bytes.subarray(99, 131),
  ]
  const limit = bytes.readBigUInt64BE(131)
  const [position, size] = [
    Number(bytes.readBigUInt64BE(139)),
    Number(bytes.readBigUInt64BE(147)),
  ]
  const isSigned = ed25519ph.verify(signature, signed(root, limit), key, {
    context: CONTEXT,
  })
  if (!isSigned) throw new Error('the signature is not of this root')
  if (limit > MOST_ROOT || BigInt(size) > limit)
    throw new Error('the root table is larger than was signed')
  const files = new Map()
  walk(bytes, position, size, root, '', files)
  return files
}

/** What StartOS needs of one architecture. */
export function complete(files, arch) {
  const needed = [
    'manifest.json',
    'icon.svg',
    'LICENSE.md',
    'instructions.md',
    'javascript.squashfs',
    'assets.squashfs',
    ...['squashfs', 'json', 'env'].map(
      (ending) => `images/${arch}/spark-control.${ending}`,
    ),
  ]
  const missing = needed.filter((name) => !files.has(name))
  if (missing.length > 0)
    throw new Error(`the package has no ${missing.join(', ')}`)
  return JSON.parse(files.get('manifest.json').toString())
}
