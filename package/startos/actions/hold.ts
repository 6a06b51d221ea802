/** "Do not swap": what serves stays, whatever the schedule says, until a time or until it is released. */
import { i18n } from '../i18n'
import { patch } from '../program'
import { sdk } from '../sdk'
import { always, blank, desired, written } from './form'

const { InputSpec, Value } = sdk

/** The hold of this form; others are made on the page. */
const holdName = 'startos'
const hour = 3_600_000

const spec = InputSpec.of({
  reason: Value.text({
    name: i18n('Why'),
    description: i18n('Shown to everybody who wants to swap'),
    required: true,
    default: null,
  }),
  owner: Value.text({
    name: i18n('Who'),
    description: i18n('Whose hold it is'),
    required: true,
    default: 'owner',
    patterns: [],
  }),
  hours: Value.number({
    name: i18n('How long'),
    description: i18n('Blank: until it is released'),
    required: false,
    default: null,
    integer: false,
    min: 0.1,
    units: i18n('hours'),
  }),
})

export const hold = sdk.Action.withInput(
  'hold',
  async () => ({
    ...always,
    name: i18n('Hold'),
    description: i18n('Keep what serves: no swap until it is released'),
  }),
  spec,
  async () => null,
  async ({ effects, input }) => {
    const now = Date.now()
    const { revision, value } = await desired(effects)
    const known = value.holds?.[holdName]
    const isInForce = known && !(known.until && Date.parse(known.until) <= now)
    if (isInForce && known.owner !== input.owner) {
      throw new Error(
        i18n('It is held by ${owner}; release that first', {
          owner: known.owner ?? '',
        }),
      )
    }
    return written(await patch(effects, change(input, now), { base: revision }))
  },
)

export function change(input: typeof spec._TYPE, now: number) {
  const { owner, reason } = input
  const hours = blank(input.hours)
  if (hours !== null && !(hours > 0 && hours <= 24 * 365)) {
    throw new Error(i18n('A hold lasts more than nothing, and a year at most'))
  }
  const until = hours === null ? null : new Date(now + hours * hour)
  return {
    holds: {
      [holdName]: {
        owner,
        reason,
        until: until && until.toISOString().replace(/\.\d+Z$/, 'Z'),
      },
    },
  }
}
