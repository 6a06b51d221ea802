/** The end of a hold. */
import { types } from '@start9labs/start-sdk'
import { i18n } from '../i18n'
import { patch } from '../program'
import { sdk } from '../sdk'
import { always, desired, revision, written } from './form'

const { InputSpec, Value } = sdk

async function form({ effects }: { effects: types.Effects }) {
  const current = await desired(effects)
  const holds = Object.entries(current.value.holds ?? {})
  if (holds.length === 0) throw new Error(i18n('Nothing is held'))
  const told = holds.map(([name, { owner, reason }]) => [
    name,
    `${name}: ${owner ?? ''}, ${reason ?? ''}`,
  ])
  const values: Record<string, string> = Object.fromEntries(told)
  return InputSpec.of({
    hold: Value.select({
      name: i18n('Hold'),
      description: i18n('Ask its owner first, when that is somebody else'),
      default: holds[0]?.[0] ?? '',
      values,
    }),
    revision: revision(current.revision),
  })
}

export const release = sdk.Action.withInput(
  'release',
  async () => ({
    ...always,
    name: i18n('Release'),
    description: i18n(
      'End a hold: what the file and its schedule say is done again',
    ),
  }),
  form,
  async () => null,
  async ({ effects, input }) =>
    written(
      await patch(
        effects,
        { holds: { [input.hold]: null } },
        { base: input.revision },
      ),
    ),
)
