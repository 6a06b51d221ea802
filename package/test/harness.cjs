// StartOS as far as the bundle needs it: volumes in a folder of our own, effects that are recorded, and a container whose
// program is the real one. What is tested is the bundle that is shipped.

const childProcess = require('node:child_process')
const fs = require('node:fs/promises')
const os = require('node:os')
const path = require('node:path')
const { mkdtempSync, mkdirSync, rmSync } = require('node:fs')

const VOLUMES = '/media/startos/volumes'
const IMAGES = '/media/startos/images'
const BUNDLE = path.join(__dirname, '../javascript/index.js')
/** The real program, for the tests that run it. */
const program = process.env.SPARK_CONTROL_PROGRAM

let place = null

/** Everything below the volumes' path is below ours. */
const rooted = (name) =>
  typeof name === 'string' &&
  (name.startsWith(VOLUMES) || name.startsWith(IMAGES))
    ? path.join(place.root, name)
    : name

for (const [name, real] of Object.entries(fs)) {
  if (typeof real !== 'function') continue
  fs[name] = (...words) => real(...words.map(rooted))
}

/** `/data` inside is the volume `main`. */
const inside = (text) =>
  text.replaceAll('/data', path.join(place.root, VOLUMES, 'main'))

const realSpawn = childProcess.spawn
const realExecFile = childProcess.execFile

/** `start-container subcontainer launch|exec [--env=…] ROOTFS [COMMAND…]` */
function startContainer(words, options) {
  const rest = words.slice(2)
  const env = { PATH: process.env.PATH }
  while (rest[0]?.startsWith('--')) {
    const match = /^--env=([^=]+)=(.*)$/s.exec(rest.shift())
    if (match) env[match[1]] = inside(match[2])
  }
  const [rootfs, command, ...args] = rest
  if (!command) {
    mkdirSync(path.join(rootfs, 'proc/1'), { recursive: true })
    return track(realSpawn('sleep', ['1000'], { ...options, stdio: 'ignore' }))
  }
  if (command !== '/usr/bin/spark-control')
    throw new Error(`what is ${command}?`)
  if (!words.includes('--user=root'))
    throw new Error("the volume is root's, and the image runs as another")
  if (!program) throw new Error('SPARK_CONTROL_PROGRAM names no program')
  place.commands.push(args)
  // Each test listens at a port of its own.
  const ours = args.map((word) =>
    word === '0.0.0.0:9999' ? `127.0.0.1:${place.port}` : word,
  )
  return track(
    realSpawn(program, ours, {
      ...options,
      env,
      stdio:
        options?.stdio === 'inherit'
          ? ['ignore', 'inherit', 'inherit']
          : 'pipe',
    }),
  )
}

function track(child) {
  place.children.add(child)
  child.on('exit', () => place?.children.delete(child))
  return child
}

childProcess.spawn = (command, words, options) =>
  command === 'start-container'
    ? startContainer(words, options)
    : realSpawn(command, words, options)

childProcess.execFile = (command, words, ...rest) => {
  const then = rest.at(-1)
  if (command === 'start-container' || command === 'mount') {
    place.mounts.push([command, ...words])
    return process.nextTick(() => then(null, '', ''))
  }
  return realExecFile(command, words, ...rest)
}

const realFetch = globalThis.fetch
globalThis.fetch = (address, options) =>
  realFetch(
    String(address).replace('127.0.0.1:9999', `127.0.0.1:${place.port}`),
    options,
  )

const bundle = require(BUNDLE)

/** Effects as StartOS gives them: what is called is written down, and answered with `answers[name]` or nothing. */
function effects(calls, answers, eventId) {
  const at = (names) =>
    new Proxy(() => {}, {
      get: (_, name) => {
        if (typeof name === 'symbol' || name === 'then') return undefined
        if (names.length === 0) {
          if (name === 'eventId') return eventId
          if (name === 'isInContext') return true
          if (name === 'child') return () => at([])
          if (name === 'onLeaveContext') return () => {}
          if (name === 'constRetry') return () => {}
        }
        return at([...names, name])
      },
      set: () => true,
      apply: async (_, __, words) => {
        const name = names.join('.')
        calls.push([name, words[0]])
        const answer = answers[name]
        return typeof answer === 'function'
          ? answer(words[0])
          : (answer ?? null)
      },
    })
  return at([])
}

/** A StartOS with an empty volume. */
class StartOS {
  constructor() {
    this.root = mkdtempSync(path.join(os.tmpdir(), 'startos-'))
    this.volume = path.join(this.root, VOLUMES, 'main')
    mkdirSync(this.volume, { recursive: true })
    this.port = 20_000 + Math.floor(Math.random() * 20_000)
    this.children = new Set()
    this.mounts = []
    this.commands = []
    this.calls = []
    this.events = 0
    this.answers = {
      'subcontainer.createFs': () => {
        const rootfs = mkdtempSync(path.join(this.root, 'rootfs-'))
        return [rootfs, path.basename(rootfs)]
      },
    }
    place = this
  }

  effects() {
    this.events += 1
    return effects(this.calls, this.answers, `event-${this.events}`)
  }

  /** What was called under this name. */
  called(name) {
    return this.calls
      .filter(([called]) => called === name)
      .map(([, words]) => words)
  }

  /** The form of an action, as it is shown. */
  async form(id) {
    const effects = this.effects()
    const form = await bundle.actions
      .get(id)
      .getInput({ effects, prefill: null })
    return {
      ...form,
      submit: (input) => bundle.actions.get(id).run({ effects, input }),
    }
  }

  /** Fill in a form and send it. */
  async act(id, input) {
    if (input === undefined) {
      return bundle.actions.get(id).run({ effects: this.effects(), input: {} })
    }
    return (await this.form(id)).submit(input)
  }

  file(name = 'cluster.yaml') {
    return path.join(this.volume, name)
  }

  /** End what was started, and remove what was written. */
  async end() {
    const ending = [...this.children].map(
      (child) =>
        new Promise((resolve) => {
          child.on('exit', resolve)
          child.kill('SIGTERM')
        }),
    )
    await Promise.all(ending)
    rmSync(this.root, { recursive: true, force: true })
  }
}

module.exports = { StartOS, bundle, program }
