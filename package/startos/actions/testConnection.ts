/** Look at every Spark now, and say of each whether it was reached. Nothing is changed. */
import { types } from '@start9labs/start-sdk'
import { Spark, Status } from '../health'
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
    const status = await askFor<Status>(effects, ['status', '--now'])
    const { sparks } = status
    const silent = sparks.filter((spark) => !spark.reachable)
    return {
      version: '1',
      title:
        silent.length === 0
          ? i18n('Every Spark was reached')
          : i18n('Not reached: ${names}', {
              names: silent.map((spark) => spark.name).join(', '),
            }),
      message:
        silent.length === 0
          ? null
          : i18n(
              'Show SSH public key and Trust host keys are what is forgotten most often.',
            ),
      result: {
        type: 'group',
        value: sparks.map((spark): types.ActionResultMember => ({
          type: 'single',
          name: spark.name,
          description: null,
          value: told(spark),
          copyable: false,
          qr: false,
          masked: false,
        })),
      },
    }
  },
)

function told(spark: Spark): string {
  if (!spark.reachable) return spark.why ?? i18n('It was not reached')
  const free = Math.floor((spark.memory_available_bytes ?? 0) / 2 ** 30)
  return i18n('Reached; ${free} GiB of memory are free', { free: String(free) })
}
