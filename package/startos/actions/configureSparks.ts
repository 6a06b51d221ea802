/** The one form that must be filled: where the Sparks are, and what of the services there is shown. */
import { types } from '@start9labs/start-sdk'
import { described } from '../fileModels/cluster.yaml'
import { i18n } from '../i18n'
import { patch } from '../program'
import { sdk } from '../sdk'
import { always, blank, desired, patterns, revision, written } from './form'

const { InputSpec, List, Value } = sdk

/** More are not one owner's cluster. */
const mostSparks = 8

const spark = InputSpec.of({
  address: Value.text({
    name: i18n('Address'),
    description: i18n(
      'As this server reaches it. Let your router give it always the same.',
    ),
    required: true,
    default: null,
    placeholder: '<spark-1-ip>',
    patterns: [patterns.address],
  }),
  user: Value.text({
    name: i18n('Account'),
    description: i18n(
      'Who Spark Control signs in as; it must be able to use Docker',
    ),
    required: true,
    default: null,
    placeholder: '<spark-user>',
    patterns: [patterns.account],
  }),
  name: Value.text({
    name: i18n('Name'),
    description: i18n(
      'How it is called in the file; blank: spark1, spark2 and so on',
    ),
    required: false,
    default: null,
    placeholder: 'spark1',
    patterns: [patterns.name],
  }),
})

const fields = {
  sparks: Value.list(
    List.obj(
      {
        name: i18n('Sparks'),
        description: i18n(
          'All that you have; each model says on which of them it runs',
        ),
        minLength: 1,
        maxLength: mostSparks,
      },
      { spec: spark, displayAs: '{{address}}', uniqueBy: 'address' },
    ),
  ),
  launcherDir: Value.text({
    name: i18n('Folder of the launcher'),
    description: i18n(
      'Below the home of the account on the Spark that starts a model; blank: spark-vllm-docker',
    ),
    required: false,
    default: null,
    placeholder: 'spark-vllm-docker',
    patterns: [patterns.path],
  }),
  vllmPort: Value.number({
    name: i18n('Port of the model'),
    description: i18n('Where its engine answers; blank: 8888'),
    required: false,
    default: null,
    integer: true,
    min: 1,
    max: 65535,
    placeholder: '8888',
  }),
  container: Value.text({
    name: i18n('Container of the model'),
    description: i18n('How it is called on the Sparks; blank: vllm_node'),
    required: false,
    default: null,
    placeholder: 'vllm_node',
    patterns: [patterns.name],
  }),
  hiddenServices: Value.dynamicMultiselect(async () => {
    const known = await described()
    const names = [
      ...Object.keys(known?.services ?? {}),
      ...(known?.disabled_services ?? []),
    ]
    return {
      name: i18n('Services to hide'),
      description: i18n('Neither looked at nor shown'),
      default: [],
      values: Object.fromEntries(names.map((name) => [name, name])),
    }
  }),
  botUser: Value.text({
    name: i18n('Account of the bot'),
    description: i18n(
      'Who owns the chat bot on the last Spark of the list; blank: no bot is shown',
    ),
    required: false,
    default: null,
    patterns: [patterns.account],
  }),
}

/** A file that cannot be read has no revision; what is wrong with it is said when it is written to. */
async function form({ effects }: { effects: types.Effects }) {
  const current =
    (await described()) && (await desired(effects).catch(() => null))
  return InputSpec.of({
    ...fields,
    revision: revision(current?.revision ?? null),
  })
}

export type Input = Awaited<ReturnType<typeof form>>['_TYPE']
type Known = Awaited<ReturnType<typeof described>>

export const configureSparks = sdk.Action.withInput(
  'configure-sparks',
  async () => ({
    ...always,
    name: i18n('Configure Sparks'),
    description: i18n('Where your Sparks are, and what is shown of them'),
  }),
  form,
  async () => {
    const known = await described()
    return {
      sparks: Object.entries(known?.sparks ?? {}).map(
        ([name, { address, user }]) => ({
          name,
          address: address ?? undefined,
          user: user ?? undefined,
        }),
      ),
      launcherDir: known?.vllm.launcher?.dir ?? undefined,
      vllmPort: known?.vllm.port ?? undefined,
      container: known?.vllm.container ?? undefined,
      hiddenServices: known?.disabled_services ?? [],
      botUser: bot(known)?.[1].user || undefined,
    }
  },
  async ({ effects, input }) => {
    const edit = { base: input.revision, create: true }
    return written(await patch(effects, change(input, await described()), edit))
  },
)

const bot = (known: Known) =>
  Object.entries(known?.services ?? {}).find(
    ([, service]) => service.kind === 'bot',
  )

/** As a merge patch. What is blank goes back to its default; what this form does not know stays. */
export function change(input: Input, known: Known) {
  // No name is special, whatever somebody sends.
  const sparks: Record<string, unknown> = Object.create(null)
  for (const name of Object.keys(known?.sparks ?? {})) sparks[name] = null
  if (input.sparks.length === 0)
    throw new Error(i18n('Name at least one Spark'))
  let last = ''
  for (const { name: written, address, user } of input.sparks) {
    const before = Object.entries(known?.sparks ?? {}).find(
      ([, spark]) => spark.address === address,
    )?.[0]
    if (written && before && written !== before) {
      // What else the file says of it would be lost.
      throw new Error(
        i18n(
          '${address} is named ${before} in the file; rename it there, on the page',
          { address, before },
        ),
      )
    }
    const name = written || before || free(sparks)
    if (sparks[name]) {
      throw new Error(i18n('Two Sparks have the name ${name}', { name }))
    }
    sparks[name] = { address, user }
    last = name
  }
  const dir = blank(input.launcherDir)
  const vllm = {
    port: blank(input.vllmPort),
    container: blank(input.container),
    // A launcher of another kind is its owner's business.
    launcher: dir
      ? { kind: known?.vllm.launcher?.kind ?? 'launch-cluster', dir }
      : known?.vllm.launcher
        ? { dir: null }
        : null,
  }
  const isPlain = !known && Object.values(vllm).every((value) => value === null)
  const [botName, botKnown] = bot(known) ?? [
    unused('bot', known?.services ?? {}),
    null,
  ]
  const botUser = blank(input.botUser)
  return {
    sparks,
    ...(isPlain ? {} : { vllm }),
    disabled_services:
      input.hiddenServices.length > 0 ? input.hiddenServices : null,
    ...(botKnown
      ? { services: { [botName]: { user: botUser ?? '' } } }
      : botUser
        ? {
            services: {
              [botName]: { kind: 'bot', spark: last, user: botUser },
            },
          }
        : {}),
  }
}

/** A name that nothing has yet. */
function unused(name: string, taken: object): string {
  return name in taken ? unused(`${name}-1`, taken) : name
}

/** The first of spark1, spark2 and so on that is not in the file: one that goes leaves its settings to nobody. */
function free(taken: object, number = 1): string {
  const name = `spark${number}`
  return name in taken ? free(taken, number + 1) : name
}
