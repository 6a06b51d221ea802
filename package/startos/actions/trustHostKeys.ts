/** Pin the host keys of the Sparks, after showing them: what is pinned is what was shown, or nothing. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { ask, askFor } from '../program'
import { sdk } from '../sdk'
import { always, desired } from './form'

const { InputSpec, Value } = sdk

/** `spark-control trust SPARK --output json`. */
type Shown = { shows: string; known: 'nothing' | 'same' | 'other' }

/** A box for each Spark that shows a key which is not pinned; its name holds the key that was shown. */
async function form({ effects }: { effects: types.Effects }) {
  const sparks = Object.keys((await desired(effects)).value.sparks ?? {})
  const fields: Record<string, ReturnType<typeof box | typeof silence>> = {}
  const silent: string[] = []
  for (const spark of sparks) {
    const shown = await askFor<Shown>(effects, ['trust', spark]).catch(
      (error: Error) => {
        silent.push(`${spark}: ${error.message}`)
        return null
      },
    )
    if (!shown) fields[spark] = silence(spark, silent.at(-1) ?? '')
    else if (shown.known !== 'same')
      fields[key(spark, shown.shows)] = box(spark, shown)
  }
  if (Object.keys(fields).length === silent.length) {
    throw new Error(
      silent.join('. ') || i18n('The key of every Spark is trusted already'),
    )
  }
  return InputSpec.of(fields)
}

const box = (spark: string, { shows, known }: Shown) =>
  Value.toggle({
    name: `${spark}: ${shows}`,
    description: i18n(
      'Compare it with what this prints on the Spark: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub',
    ),
    warning:
      known === 'other'
        ? i18n(
            'It showed another key before. Was it set up anew? If not, somebody stands in between.',
          )
        : null,
    default: false,
  })

/** A Spark that showed no key. */
const silence = (spark: string, why: string) =>
  Value.dynamicText(() => ({
    name: spark,
    required: false,
    default: why,
    disabled: i18n('It showed no key; open this form again when it does.'),
  }))

const separator = ' '
const key = (spark: string, fingerprint: string) =>
  `${spark}${separator}${fingerprint}`

export const trustHostKeys = sdk.Action.withInput(
  'trust-host-keys',
  async () => ({
    ...always,
    name: i18n('Trust host keys'),
    description: i18n(
      'See which key each Spark shows, and trust it when it is the right one',
    ),
  }),
  form,
  async () => null,
  async ({ effects, input }) => {
    const agreed = Object.entries(input).filter(([, yes]) => yes === true)
    if (agreed.length === 0)
      throw new Error(i18n('No key was ticked; nothing was trusted'))
    const done: string[] = []
    for (const [field] of agreed) {
      const [spark = '', fingerprint = ''] = field.split(separator)
      const { said } = await ask(effects, [
        'trust',
        spark,
        '--fingerprint',
        fingerprint,
      ])
      done.push(said.trim())
    }
    const others = Object.entries(input).filter(([, yes]) => yes !== true)
    if (others.length > 0) {
      const names = others
        .map(([field]) => field.split(separator)[0])
        .join(', ')
      done.push(i18n('Not trusted yet: ${names}', { names }))
    }
    return {
      version: '1',
      title: i18n('Trusted'),
      message: done.join('\n'),
      result: null,
    }
  },
)
