/** Look at every Spark now, and say of each whether it was reached. Nothing is changed. */
import { types } from '@start9labs/start-sdk'
import { Status, View } from '../health'
import { i18n } from '../i18n'
import { askFor } from '../program'
import { sdk } from '../sdk'
import { always } from './form'

export const testConnection = sdk.Action.withoutInput(
  'test-connection',
  async () => ({
    ...always,
    name: i18n('Test connection'),
    description: i18n('Look at every Spark now, and say what was found'),
  }),
  async ({ effects }) => {
    const status = await askFor<Status>(effects, ['status'])
    const sparks = Object.entries(status.sparks ?? {})
    const silent = sparks.filter(([, view]) => view.reach !== 'reachable')
    return {
      version: '1',
      title:
        silent.length === 0
          ? i18n('Every Spark was reached')
          : i18n('Not reached: ${names}', {
              names: silent.map(([name]) => name).join(', '),
            }),
      message:
        silent.length === 0
          ? null
          : i18n(
              'Show SSH public key and Trust host keys are what is forgotten most often.',
            ),
      result: {
        type: 'group',
        value: sparks.map(([name, view]): types.ActionResultMember => ({
          type: 'single',
          name,
          description: null,
          value: told(view),
          copyable: false,
          qr: false,
          masked: false,
        })),
      },
    }
  },
)

function told(view: View): string {
  if (view.reach !== 'reachable') return view.why ?? i18n('It was not reached')
  const free = Math.floor((view.memory_available_bytes ?? 0) / 2 ** 30)
  return i18n('Reached; ${free} GiB of memory are free', { free: String(free) })
}
