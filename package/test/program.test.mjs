// The actions of the shipped bundle against the real program: SPARK_CONTROL_PROGRAM.

import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import harness from './harness.cjs'

const { StartOS, bundle, program } = harness
assert.ok(program, 'SPARK_CONTROL_PROGRAM must name the program')

const filled = {
  sparks: [
    { address: '192.0.2.1', user: 'alice', name: null },
    { address: '192.0.2.2', user: 'bob', name: null },
  ],
  launcherDir: null,
  vllmPort: null,
  container: null,
  hiddenServices: [],
  botUser: null,
  revision: null,
}

async function on(run) {
  const startos = new StartOS()
  try {
    await run(startos)
  } finally {
    await startos.end()
  }
}

const desired = (startos) =>
  JSON.parse(
    execFileSync(
      program,
      [
        '--file',
        startos.file(),
        '--data',
        startos.file('state'),
        'desired',
        'get',
        '--output',
        'json',
      ],
      {
        encoding: 'utf8',
      },
    ),
  )

/** Wait for it, half a minute at most. */
async function until(what, holds) {
  for (let tries = 0; tries < 300; tries += 1) {
    const value = await holds()
    if (value) return value
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return assert.fail(`${what}: not within half a minute`)
}

/** The program runs, as the service would. */
async function serving(startos) {
  const words = [
    '--file',
    startos.file(),
    '--data',
    startos.file('state'),
    'serve',
    '--listen',
    `127.0.0.1:${startos.port}`,
  ]
  startos.children.add(spawn(program, words, { stdio: 'ignore' }))
  await until('the service', () =>
    existsSync(startos.file('state/control.sock')),
  )
}

/** A Spark that is this machine, without an Engine. */
const HERE = `# the house
version: 1
sparks:
  here: { address: 127.0.0.1, transport: local, docker_socket: /nowhere/docker.sock }   # this one
model: none   # nothing yet
models:
  # the small one
  small: { repo: demo/small, sparks: [here] }
services:
  voice: { kind: tts, spark: here, port: 9002 }
  helper: { kind: bot, spark: here, user: helper }
`

test('the form makes the file, and blank fields are what the program makes of them', () =>
  on(async (startos) => {
    assert.equal(existsSync(startos.file()), false)
    const answer = await startos.act('configure-sparks', filled)
    assert.match(answer.message, /revision 1 is in force/)
    assert.deepEqual(desired(startos).value, {
      version: 1,
      sparks: {
        spark1: { address: '192.0.2.1', user: 'alice' },
        spark2: { address: '192.0.2.2', user: 'bob' },
      },
    })
    const { value } = await startos.form('configure-sparks')
    assert.deepEqual(
      value.sparks.map(({ name, address }) => [name, address]),
      [
        ['spark1', '192.0.2.1'],
        ['spark2', '192.0.2.2'],
      ],
    )
    const second = startos.commands.findLast(([, verb]) => verb === 'patch')
    assert.deepEqual(second, ['desired', 'patch', '--stdin', '--create'])
    const patch = (change) =>
      startos.act('configure-sparks', { ...filled, ...change })
    await patch({
      vllmPort: 8000,
      container: 'other',
      launcherDir: 'src/launcher',
      botUser: 'helper',
    })
    assert.deepEqual(desired(startos).value.vllm, {
      port: 8000,
      container: 'other',
      launcher: { kind: 'launch-cluster', dir: 'src/launcher' },
    })
    assert.deepEqual(desired(startos).value.services, {
      bot: { kind: 'bot', spark: 'spark2', user: 'helper' },
    })
    // A bot whose Spark goes is not taken along unasked.
    await assert.rejects(
      patch({ sparks: filled.sparks.slice(0, 1), botUser: null }),
      /no Spark is named `spark2`/,
    )
    await patch({ botUser: null })
    assert.equal(
      desired(startos).value.services.bot.user,
      '',
      'a bot without a user is not there',
    )
    assert.equal(desired(startos).value.vllm.port, undefined)
    assert.equal(desired(startos).value.vllm.container, undefined)
  }))

test('comments and what the form does not know survive', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    const form = await startos.form('configure-sparks')
    assert.deepEqual(Object.keys(form.spec.hiddenServices.values), [
      'voice',
      'helper',
    ])
    assert.equal(form.value.botUser, 'helper')
    await form.submit({
      ...filled,
      sparks: [{ address: '127.0.0.1', user: 'alice', name: 'here' }],
      hiddenServices: ['voice'],
      vllmPort: 8001,
      botUser: 'carol',
    })
    const text = readFileSync(startos.file(), 'utf8')
    for (const kept of [
      '# the house',
      '# this one',
      '# nothing yet',
      '# the small one',
      'docker_socket: /nowhere/docker.sock',
      'transport: local',
    ]) {
      assert.ok(text.includes(kept), `${kept}\n${text}`)
    }
    assert.deepEqual(desired(startos).value.disabled_services, ['voice'])
    assert.equal(desired(startos).value.services.helper.user, 'carol')
  }))

test('a form that is old overwrites nothing, and a Spark keeps its name and what else is said of it', () =>
  on(async (startos) => {
    await startos.act('configure-sparks', filled)
    const form = await startos.form('configure-sparks')
    const revision = form.spec.revision.default
    assert.equal(revision, 1)
    await startos.act('configure-sparks', {
      ...filled,
      sparks: [
        ...filled.sparks,
        { address: '192.0.2.3', user: 'carol', name: 'third' },
      ],
    })
    await assert.rejects(
      form.submit({ ...filled, revision }),
      /changed since: \/sparks\/third/,
    )
    assert.equal(desired(startos).value.sparks.third.user, 'carol')

    writeFileSync(
      startos.file(),
      'version: 1\nsparks:\n  desk: { address: 192.0.2.9, user: alice, ssh_port: 2222 }   # under it\nservices: { bot: { kind: http, spark: desk, port: 1 } }\n',
    )
    const alone = {
      ...filled,
      sparks: [{ address: '192.0.2.9', user: 'bob', name: null }],
    }
    await startos.act('configure-sparks', { ...alone, botUser: 'helper' })
    assert.deepEqual(desired(startos).value.sparks, {
      desk: { address: '192.0.2.9', user: 'bob', ssh_port: 2222 },
    })
    assert.equal(
      desired(startos).value.services.bot.kind,
      'http',
      'a service of that name is not made a bot',
    )
    assert.equal(desired(startos).value.services['bot-1'].user, 'helper')
    await assert.rejects(
      startos.act('configure-sparks', {
        ...alone,
        sparks: [{ ...alone.sparks[0], name: 'other' }],
      }),
      /192\.0\.2\.9 is named desk in the file/,
    )
  }))

test('a machine in the place of another has nothing of it', () =>
  on(async (startos) => {
    writeFileSync(
      startos.file(),
      'version: 1\nsparks:\n  spark1: { address: 192.0.2.1, user: alice, ssh_port: 2222 }\n  spark2: { address: 192.0.2.2, user: alice }\n',
    )
    const sparks = [
      { address: '192.0.2.7', user: 'bob', name: null },
      { address: '192.0.2.2', user: 'alice', name: 'spark2' },
    ]
    await startos.act('configure-sparks', {
      ...filled,
      sparks,
      botUser: 'helper',
    })
    const { value } = desired(startos)
    assert.deepEqual(value.sparks.spark3, { address: '192.0.2.7', user: 'bob' })
    assert.equal(value.sparks.spark1, undefined)
    assert.equal(value.services.bot.spark, 'spark2', 'the last of the list')
  }))

test('what takes much out waits for a yes, and the form says so', () =>
  on(async (startos) => {
    await startos.act('configure-sparks', filled)
    const answer = await startos.act('configure-sparks', {
      ...filled,
      sparks: filled.sparks.slice(0, 1),
    })
    assert.match(answer.title, /waits for your yes/)
    assert.doesNotMatch(
      answer.message,
      /spark-control/,
      'no command that an owner cannot type',
    )
  }))

test('hostile input is refused with a plain sentence, and nothing is written', () =>
  on(async (startos) => {
    const spark = (change) => ({
      ...filled,
      sparks: [{ ...filled.sparks[0], ...change }],
    })
    const hostile = [
      [
        spark({ address: '-oProxyCommand=touch /tmp/x' }),
        /is not an IPv4 address or a host name/,
      ],
      [
        spark({ address: '192.0.2.1; reboot' }),
        /is not an IPv4 address or a host name/,
      ],
      [spark({ address: '' }), /is not an IPv4 address|blank/],
      [spark({ address: '2001:db8::1' }), /is not an IPv4 address/],
      [spark({ user: '-oProxyCommand=x' }), /is not/],
      [spark({ user: 'alice bob' }), /is not/],
      [spark({ user: 'a\nb: c' }), /is not/],
      [spark({ name: '../x' }), /is not a name|is named spark1/],
      [spark({ name: '__proto__' }), /is not a name|is named spark1/],
      [{ ...filled, vllmPort: 0 }, /no port|0/],
      [{ ...filled, vllmPort: 8888.5 }, /8888\.5/],
      [{ ...filled, vllmPort: 65536 }, /65536/],
      [{ ...filled, vllmPort: -1 }, /-1/],
      [{ ...filled, container: 'a;b' }, /`a;b` is not a name/],
      [{ ...filled, container: '--privileged' }, /is not a name/],
      [{ ...filled, container: '$(reboot)' }, /is not a name/],
      [{ ...filled, launcherDir: '$(reboot)' }, /./],
      [{ ...filled, launcherDir: 'a;b' }, /./],
      [{ ...filled, botUser: 'root; x' }, /is not/],
      [{ ...filled, sparks: [] }, /at least one Spark/],
      [
        {
          ...filled,
          sparks: [filled.sparks[0], { ...filled.sparks[1], name: 'spark1' }],
        },
        /Two Sparks have the name spark1/,
      ],
      [{ ...filled, hiddenServices: ['a;b'] }, /./],
      [{ ...filled, sparks: 'all' }, /./],
    ]
    for (const running of [false, true]) {
      if (running) await serving(startos)
      for (const existing of [
        null,
        HERE.replaceAll('here', 'spark1')
          .replace('127.0.0.1', '192.0.2.1')
          .replace('transport: local, ', 'user: alice, '),
      ]) {
        if (existing) writeFileSync(startos.file(), existing)
        else rmSync(startos.file(), { force: true })
        for (const [input, expected] of hostile) {
          const change = existing
            ? { ...input, botUser: input.botUser ?? 'helper' }
            : input
          const refused = await startos.act('configure-sparks', change).then(
            () => null,
            (error) => error.message,
          )
          assert.ok(refused, `${JSON.stringify(input)} was taken`)
          assert.match(refused, expected, JSON.stringify(input))
          assert.doesNotMatch(
            refused,
            /cluster\.yaml:\d|\^\^|\u001b|control\.sock/,
            'a sentence, not a picture of the file',
          )
          assert.equal(
            existing,
            existsSync(startos.file())
              ? readFileSync(startos.file(), 'utf8')
              : null,
          )
        }
      }
    }
  }))

test('a model is chosen after its plan was shown, and not over somebody else’s edit', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    // What was never in force has no revision.
    await startos.act('hold', { reason: 'x', owner: 'alice', hours: null })
    await startos.act('release', { hold: 'startos', revision: null })
    const before = readFileSync(startos.file(), 'utf8')
    const form = await startos.form('choose-model')
    assert.deepEqual(Object.keys(form.spec.model.variants), [
      'watch only',
      'small',
      'none',
    ])
    assert.equal(form.spec.model.default, 'none')
    const shown = form.spec.model.variants.small.spec.plan
    assert.match(shown.default, /vllm: serve `small`/)
    assert.equal(shown.placeholder, shown.default)
    assert.ok(shown.disabled)
    const revision = form.spec.revision.default
    assert.equal(
      readFileSync(startos.file(), 'utf8'),
      before,
      'looking writes nothing',
    )
    const input = {
      revision,
      model: { selection: 'small', value: { plan: null } },
    }
    await form.submit(input)
    assert.match(
      readFileSync(startos.file(), 'utf8'),
      /^model: small   # nothing yet$/m,
    )
    await assert.rejects(
      form.submit({
        ...input,
        model: { selection: 'none', value: { plan: null } },
      }),
      /changed since: \/model/,
    )
    await assert.rejects(
      form.submit({
        ...input,
        model: { selection: 'nowhere', value: { plan: null } },
      }),
    )
    // Who has chosen nothing is shown nothing that stops something.
    writeFileSync(
      startos.file(),
      HERE.replace('model: none   # nothing yet\n', ''),
    )
    const unset = await startos.form('choose-model')
    assert.equal(unset.spec.model.default, 'watch only')
    assert.match(unset.spec.model.variants.none.spec.plan.default, /\w/)
    await unset.submit({
      revision: null,
      model: { selection: 'small', value: { plan: null } },
    })
    const set = await startos.form('choose-model')
    const back = { selection: 'watch only', value: { plan: null } }
    await set.submit({ revision: set.spec.revision.default, model: back })
    assert.equal(desired(startos).value.model, undefined)
  }))

test('a local model is added beside the others', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    const input = {
      name: 'mine',
      path: '/srv/models/mine',
      sparks: ['here'],
      memory: 40,
    }
    assert.deepEqual(
      Object.keys((await startos.form('add-local-model')).spec.sparks.values),
      ['here'],
    )
    await startos.act('add-local-model', input)
    assert.deepEqual(desired(startos).value.models.mine, {
      local_path: '/srv/models/mine',
      sparks: ['here'],
      memory_gib: 40,
    })
    await assert.rejects(startos.act('add-local-model', input), /already/)
    const before = readFileSync(startos.file(), 'utf8')
    for (const wrong of [
      { name: 'a b' },
      { name: '__proto__' },
      { path: 'relative' },
      { path: '/a;b' },
      { path: '/a/../..' },
      { sparks: [] },
      { memory: -1 },
    ]) {
      await assert.rejects(
        startos.act('add-local-model', { ...input, name: 'other', ...wrong }),
        undefined,
        JSON.stringify(wrong),
      )
    }
    assert.equal(readFileSync(startos.file(), 'utf8'), before)
  }))

test('what serves is held and released', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    await assert.rejects(startos.form('release'), /Nothing is held/)
    await startos.act('hold', { reason: 'a talk', owner: 'alice', hours: 2 })
    const hold = desired(startos).value.holds.startos
    assert.deepEqual([hold.owner, hold.reason], ['alice', 'a talk'])
    const lasts = new Date(hold.until) - Date.now()
    assert.ok(lasts > 7_190_000 && lasts <= 7_200_000, hold.until)
    await assert.rejects(
      startos.act('hold', { reason: 'x', owner: 'alice', hours: 1e9 }),
      /at most/,
    )
    await startos.act('hold', { reason: 'longer', owner: 'alice', hours: null })
    assert.equal(desired(startos).value.holds.startos.until, undefined)
    const form = await startos.form('release')
    assert.deepEqual(form.spec.hold.values, {
      startos: 'startos: alice, longer',
    })
    const input = { hold: 'startos', revision: form.spec.revision.default }
    await startos.act('hold', { reason: 'anew', owner: 'alice', hours: null })
    await assert.rejects(form.submit(input), /changed since/)
    await assert.rejects(
      startos.act('hold', { reason: 'mine', owner: 'bob', hours: null }),
      /held by alice/,
    )
    await startos.act('release', { hold: 'startos', revision: null })
    assert.equal(desired(startos).value.holds?.startos, undefined)
  }))

test('a password is made anew each time, and the key is the one that is used', () =>
  on(async (startos) => {
    const first = await startos.act('set-password')
    const second = await startos.act('set-password')
    assert.match(first.result.value, /^sc_[0-9a-f]{8}_[0-9a-f]{64}$/)
    assert.notEqual(first.result.value, second.result.value)
    assert.equal(second.result.masked, true)
    const store = readFileSync(startos.file('startos/store.json'), 'utf8')
    assert.deepEqual(
      JSON.parse(store),
      { passwordSet: true },
      'the package does not keep it',
    )
    const tokens = execFileSync(
      program,
      ['--data', startos.file('state'), 'token', 'list', '--output', 'json'],
      { encoding: 'utf8' },
    )
    assert.deepEqual(
      JSON.parse(tokens).tokens.map(({ name, role }) => [name, role]),
      [['owner', 'approve']],
    )
    const key = await startos.act('show-ssh-key')
    assert.equal(
      key.result.value,
      readFileSync(startos.file('state/id_ed25519.pub'), 'utf8').trim(),
    )
    assert.equal(statSync(startos.file('state/id_ed25519')).mode & 0o777, 0o600)
    // Nobody is asked again.
    await startos.act('configure-sparks', filled)
    startos.calls.length = 0
    await bundle.init({ effects: startos.effects(), kind: 'update' })
    assert.deepEqual(startos.called('action.createTask'), [])
  }))

test('host keys are shown, compared, and pinned when they are ticked', () =>
  on(async (startos) => {
    const port = startos.port + 1
    const key = startos.file('host_key')
    const made = () => {
      rmSync(key, { force: true })
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key])
    }
    const sshd = async () => {
      mkdirSync('/run/sshd', { recursive: true })
      const words = [
        '-D',
        '-f',
        '/dev/null',
        '-h',
        key,
        '-o',
        `Port=${port}`,
        '-o',
        'ListenAddress=127.0.0.1',
        '-o',
        'PidFile=none',
      ]
      const child = spawn('/usr/sbin/sshd', words, { stdio: 'ignore' })
      startos.children.add(child)
      await until(
        'sshd',
        () =>
          new Promise((resolve) => {
            const socket = connect(
              port,
              '127.0.0.1',
              () => resolve(true) || socket.destroy(),
            )
            socket.on('error', () => resolve(false))
          }),
      )
      return child
    }
    made()
    const first = await sshd()
    writeFileSync(
      startos.file(),
      `version: 1\nsparks:\n  one: { address: 127.0.0.1, user: alice, ssh_port: ${port} }\n  two: { address: 127.0.0.1, user: alice, ssh_port: 1 }\n`,
    )
    const fingerprint = execFileSync('ssh-keygen', ['-lf', `${key}.pub`], {
      encoding: 'utf8',
    }).split(' ')[1]
    const form = await startos.form('trust-host-keys')
    const field = `one ${fingerprint}`
    assert.deepEqual(Object.keys(form.spec).sort(), [field, 'two'].sort())
    assert.match(
      form.spec.two.default,
      /nothing listens on port 1 of 127\.0\.0\.1/,
    )
    assert.equal(form.spec[field].warning, null)
    await assert.rejects(
      form.submit({ [field]: false, two: null }),
      /No key was ticked/,
    )
    assert.equal(existsSync(startos.file('state/known_hosts')), false)
    const answer = await form.submit({ [field]: true, two: null })
    assert.match(
      answer.message,
      /pinned SHA256:.* for one\nNot trusted yet: two/,
    )
    assert.match(
      readFileSync(startos.file('state/known_hosts'), 'utf8'),
      new RegExp(`^\\[127.0.0.1\\]:${port} ssh-ed25519 `),
    )
    await assert.rejects(startos.form('trust-host-keys'), /two/)
    // Somebody else answers there.
    const gone = new Promise((resolve) => first.on('exit', resolve))
    first.kill()
    startos.children.delete(first)
    await gone
    made()
    await sshd()
    const changed = await startos.form('trust-host-keys')
    const [other] = Object.keys(changed.spec).filter((name) =>
      name.startsWith('one '),
    )
    assert.notEqual(other, field)
    assert.match(changed.spec[other].warning, /another key before/)
    await assert.rejects(
      form.submit({ [field]: true, two: null }),
      /shows SHA256:.*nothing was pinned/,
      'what was shown then is not what is there',
    )
  }))

test('each Spark is told of that was not reached, and why', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    const told = await startos.act('test-connection')
    assert.match(told.title, /Not reached: here/)
    assert.match(told.result.value[0].value, /Docker/)
    await assert.rejects(startos.form('trust-host-keys'), /here: .*local/)
  }))

test('the service runs, asks for the password, tells of its health, takes edits, and ends in order', () =>
  on(async (startos) => {
    writeFileSync(startos.file(), HERE)
    const password = (await startos.act('set-password')).result.value
    const address = {
      hostname: 'sparks.example',
      ssl: true,
      public: false,
      port: 443,
      metadata: { kind: 'mdns', gateways: [] },
    }
    startos.answers.getHostInfo = () => ({
      bindings: {
        9999: { addresses: { available: [address] }, interfaces: {} },
      },
    })
    const daemons = await (
      await bundle.main({ effects: startos.effects() })
    ).build()
    const health = (id) =>
      startos
        .called('setHealth')
        .filter((told) => told.id === id)
        .at(-1)
    await until('the page', () => health('primary')?.result === 'success')
    const serve = startos.commands.find(([command]) => command === 'serve')
    assert.deepEqual(serve, [
      'serve',
      '--listen',
      '0.0.0.0:9999',
      '--allow-host',
      'sparks.example',
    ])
    const asked = (headers) =>
      fetch(`http://127.0.0.1:9999/api/v1/status`, { headers }).then(
        ({ status }) => status,
      )
    assert.equal(await asked({}), 401)
    assert.equal(await asked({ authorization: `Bearer ${password}` }), 200)
    const failure = await until(
      'the cluster',
      () => health('cluster')?.result === 'failure' && health('cluster'),
    )
    const results = startos
      .called('setHealth')
      .filter(({ id }) => id === 'cluster')
      .map(({ result }) => result)
    assert.ok(!results.includes('success'), 'before a look nothing is well')
    assert.match(failure.message, /Not reached: here/)
    await startos.act('hold', { reason: 'a talk', owner: 'alice', hours: null })
    const held = await fetch('http://127.0.0.1:9999/api/v1/desired', {
      headers: { authorization: `Bearer ${password}` },
    })
    assert.equal(
      (await held.json()).value.holds.startos.owner,
      'alice',
      'the running service has it',
    )
    const [running] = [...startos.children].filter((child) =>
      child.spawnargs.includes('serve'),
    )
    const ended = new Promise((resolve) =>
      running.on('exit', (code) => resolve(code)),
    )
    await daemons.term()
    assert.equal(await ended, 0, 'it ends by itself')
    assert.match(readFileSync(startos.file(), 'utf8'), /^# the house$/m)
    assert.equal(existsSync(startos.file('state/control.sock')), false)
  }))
