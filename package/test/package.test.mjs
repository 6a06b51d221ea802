// The package as it is shipped: what it declares, and what it asks of StartOS. No program, no network.

import assert from 'node:assert/strict'
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import ts from 'typescript'
import harness from './harness.cjs'

const { StartOS, bundle } = harness
const { manifest } = bundle
const here = (name) => new URL(`../${name}`, import.meta.url)
const text = (name) => readFileSync(here(name), 'utf8')
/** A module of the source, with others in the place of what it imports. */
function load(name, imports = {}) {
  const options = {
    module: ts.ModuleKind.CommonJS,
    target: ts.ScriptTarget.ES2022,
  }
  const { outputText } = ts.transpileModule(text(name), {
    compilerOptions: options,
  })
  const module = { exports: {} }
  new Function('exports', 'require', outputText)(
    module.exports,
    (from) => imports[from] ?? {},
  )
  return module.exports
}

/** English, filled in. */
const i18n = (said, values = {}) =>
  said.replace(/\$\{(\w+)\}/g, (_, name) => values[name])

const languages = ['en_US', 'es_ES', 'de_DE', 'pl_PL', 'fr_FR']

test('what the packer needs is there', () => {
  for (const name of [
    'LICENSE',
    'README.md',
    'UPDATING.md',
    'instructions.md',
    'icon.svg',
    'assets/.gitkeep',
  ]) {
    assert.ok(statSync(here(name)).isFile(), name)
  }
  assert.ok(statSync(here('icon.svg')).size <= 40 * 1024)
  assert.equal(text('LICENSE'), text('../LICENSE'))
  // `s9pk.mk` finds the id by this one line.
  const ids = text('startos/manifest/index.ts')
    .split('\n')
    .filter((line) => /id:/.test(line) && line.includes("'"))
  assert.equal(ids.length, 1)
  assert.equal(manifest.id, 'spark-control')
})

test('versions, architectures and the pinned SDK agree', () => {
  const cargo = /^version = "(.+)"$/m.exec(text('../Cargo.toml'))[1]
  assert.equal(manifest.version, `${cargo}:0`)
  const arches = /^ARCHES := (.+)$/m.exec(text('Makefile'))[1].split(' ')
  const named = { x86: 'x86_64', arm: 'aarch64' }
  for (const image of Object.values(manifest.images)) {
    assert.deepEqual(
      image.arch,
      arches.map((arch) => named[arch]),
    )
  }
  const { dependencies } = JSON.parse(text('package.json'))
  const lock = JSON.parse(text('package-lock.json'))
  const sdk = dependencies['@start9labs/start-sdk']
  assert.match(sdk, /^\d+\.\d+\.\d+$/, 'pinned exactly')
  assert.equal(lock.packages['node_modules/@start9labs/start-sdk'].version, sdk)
  const unlocked = Object.entries(lock.packages).filter(
    ([name, { integrity, inBundle, link }]) =>
      name && !integrity && !inBundle && !link,
  )
  assert.deepEqual(unlocked, [])
})

test('every language says everything', () => {
  for (const [kind, most] of [
    ['short', 160],
    ['long', 5000],
  ]) {
    assert.deepEqual(
      Object.keys(manifest.description[kind]).sort(),
      [...languages].sort(),
    )
    for (const said of Object.values(manifest.description[kind]))
      assert.ok(said.length > 0 && said.length <= most)
  }
  assert.deepEqual(
    Object.keys(manifest.releaseNotes).sort(),
    [...languages].sort(),
  )
  const { default: english } = load('startos/i18n/dictionaries/default.ts')
  const { default: others } = load('startos/i18n/dictionaries/translations.ts')
  assert.deepEqual(Object.keys(others).sort(), languages.slice(1).sort())
  const numbers = Object.values(english)
  assert.deepEqual(numbers, [...numbers.keys()])
  // What is filled in is filled in everywhere.
  const holes = (said) => [...said.matchAll(/\$\{\w+\}/g)].map(String).sort()
  for (const said of Object.values(others)) {
    assert.deepEqual(Object.keys(said).map(Number), numbers)
    for (const [text, at] of Object.entries(english)) {
      assert.ok(said[at].length > 0)
      assert.deepEqual(holes(said[at]), holes(text), said[at])
    }
  }
})

test('every text of the package is in the dictionary, and the dictionary has no other', () => {
  const files = readdirSync(here('startos'), { recursive: true }).filter(
    (name) => name.endsWith('.ts') && !name.startsWith('i18n'),
  )
  const used = new Set()
  for (const name of files) {
    for (const [, said] of text(`startos/${name}`).matchAll(
      /i18n\(\s*'((?:[^'\\]|\\.)*)'/g,
    ))
      used.add(said)
    assert.doesNotMatch(text(`startos/${name}`), /i18n\(\s*["`]/, name)
  }
  const { default: dictionary } = load('startos/i18n/dictionaries/default.ts')
  const known = new Set(Object.keys(dictionary))
  assert.deepEqual(
    [...used].filter((said) => !known.has(said)),
    [],
  )
  assert.deepEqual(
    [...known].filter((said) => !used.has(said)),
    [],
  )
})

test('a first installation asks for what is needed, and starts nothing before it has it', async () => {
  const startos = new StartOS()
  try {
    await bundle.init({ effects: startos.effects(), kind: 'install' })
    const tasks = startos
      .called('action.createTask')
      .map(({ actionId, severity }) => `${severity} ${actionId}`)
    assert.deepEqual(tasks.sort(), [
      'critical configure-sparks',
      'critical set-password',
      'important show-ssh-key',
      'important trust-host-keys',
    ])
    const [bind] = startos.called('bind')
    assert.equal(bind.internalPort, 9999)
    assert.equal(
      bind.options?.addSsl?.auth ?? null,
      null,
      'the program asks for the password itself',
    )
    const shown = startos
      .called('exportServiceInterface')
      .map(({ id, type }) => `${id} ${type}`)
    assert.deepEqual(shown.sort(), ['api api', 'ui ui'])
    const actions = startos.called('action.export')
    assert.deepEqual(actions.map(({ id }) => id).sort(), [
      'add-local-model',
      'choose-model',
      'configure-sparks',
      'hold',
      'release',
      'set-password',
      'show-ssh-key',
      'test-connection',
      'trust-host-keys',
    ])
    for (const { id, metadata } of actions) {
      assert.equal(
        metadata.allowedStatuses,
        'any',
        `${id} works while the service is stopped`,
      )
    }
  } finally {
    await startos.end()
  }
})

test('the form of the Sparks is what an owner fills in', async () => {
  const startos = new StartOS()
  try {
    const { spec, value } = await startos.form('configure-sparks')
    assert.deepEqual(Object.keys(spec), [
      'sparks',
      'launcherDir',
      'vllmPort',
      'container',
      'hiddenServices',
      'botUser',
      'revision',
    ])
    assert.deepEqual(Object.keys(spec.sparks.spec.spec), [
      'address',
      'user',
      'name',
    ])
    const required = (fields) =>
      Object.entries(fields)
        .filter(([, field]) => field.required)
        .map(([name]) => name)
    assert.deepEqual(
      [required(spec), required(spec.sparks.spec.spec)],
      [[], ['address', 'user']],
    )
    assert.deepEqual(
      [spec.vllmPort.min, spec.vllmPort.max, spec.vllmPort.integer],
      [1, 65535, true],
    )
    assert.deepEqual(JSON.parse(JSON.stringify(value)), {
      sparks: [],
      hiddenServices: [],
    })
  } finally {
    await startos.end()
  }
})

test('health tells what is on its way, what waits for a yes and what needs somebody apart', () => {
  const { judge } = load('startos/health.ts', { './i18n': { i18n } })
  const status = (concern, objects = [], rest = {}) => ({
    file_error: null,
    fenced: null,
    headline: { concern, objects, silent: [] },
    ...rest,
  })
  const of = (concern) =>
    status(concern, [
      { object: 'vllm', concern },
      { object: 'tts', concern: 'passing' },
    ])
  const silent = {
    headline: { concern: 'out_of_sight', objects: [], silent: ['spark1'] },
  }
  for (const [seen, result, message] of [
    [status('fine'), 'success', 'Everything is as the file says'],
    [of('passing'), 'loading', 'On its way: vllm, tts'],
    [
      of('asks_for_approval'),
      'loading',
      'Waits for your yes on the page: vllm',
    ],
    [
      of('as_wished'),
      'success',
      'Left as it is, because somebody wants it so: vllm',
    ],
    [of('needs_you'), 'failure', 'Needs attention: vllm'],
    [of('out_of_sight'), 'failure', 'Not reached: vllm'],
    [status('out_of_sight', [], silent), 'failure', 'Not reached: spark1'],
    [
      status('asks_for_approval', [], {
        pending_approval: 'abc',
        file_error: 'LargeRemoval',
      }),
      'loading',
      'Waits for your yes on the page: cluster.yaml',
    ],
    [
      status('needs_you', [], { file_error: 'x' }),
      'failure',
      'The file is not in force; the page says why',
    ],
    [
      status('needs_you', [], { fenced: 'another acts' }),
      'failure',
      'another acts',
    ],
  ]) {
    assert.deepEqual(judge(seen), { result, message }, JSON.stringify(seen))
  }
})

test('before the first look nothing is known', () => {
  const { isKnown } = load('startos/health.ts', { './i18n': { i18n } })
  const status = {
    revision: null,
    file_error: null,
    pending_approval: null,
    fenced: null,
  }
  assert.equal(isKnown(status), false)
  for (const known of [
    { revision: 1 },
    { file_error: 'x' },
    { pending_approval: 'x' },
    { fenced: 'x' },
  ]) {
    assert.equal(isKnown({ ...status, ...known }), true)
  }
})

test('a failure that lasts is told once, and so is its end', async () => {
  const told = []
  const create = async (_, { level, message }) =>
    void told.push(`${level}: ${message}`)
  const { teller } = load('startos/notify.ts', {
    './i18n': { i18n },
    './sdk': { sdk: { notification: { create } } },
  })
  let now = 0
  const tell = teller({}, () => now)
  const after = async (seconds, result) => {
    now += seconds * 1000
    await tell({ result, message: result })
  }
  await after(0, 'failure')
  await after(119, 'failure')
  await after(1, 'loading')
  await after(1, 'failure')
  assert.deepEqual(told, [], 'what passes is told to nobody')
  await after(120, 'failure')
  await after(300, 'failure')
  assert.deepEqual(told, ['warning: failure'])
  await after(1, 'loading')
  await after(1, 'success')
  await after(1, 'success')
  assert.deepEqual(told, ['warning: failure', 'success: success'])
  // A StartOS without notifications does not make a service unhealthy.
  const broken = async () => {
    throw new Error('no such method')
  }
  const log = console.error
  console.error = () => {}
  const old = load('startos/notify.ts', {
    './i18n': { i18n },
    './sdk': { sdk: { notification: { create: broken } } },
  }).teller({}, () => now)
  await old({ result: 'failure', message: '' })
  now += 121_000
  await old({ result: 'failure', message: '' })
  console.error = log
})

test('a file that cannot be read keeps nothing from starting', async () => {
  const startos = new StartOS()
  try {
    writeFileSync(startos.file(), 'version: 1\nsparks: [\n')
    await bundle.init({ effects: startos.effects(), kind: 'update' })
    const tasks = startos
      .called('action.createTask')
      .map(({ actionId }) => actionId)
    assert.deepEqual(tasks, ['set-password'], 'the page is where it is mended')
  } finally {
    await startos.end()
  }
})
