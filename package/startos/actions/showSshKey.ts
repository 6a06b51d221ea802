/** The public half of the key that the Sparks must know. The private half is never shown. */
import { i18n } from '../i18n'
import { askFor } from '../program'
import { sdk } from '../sdk'
import { always } from './form'

export const showSshKey = sdk.Action.withoutInput(
  'show-ssh-key',
  async () => ({
    ...always,
    name: i18n('Show SSH public key'),
    description: i18n(
      'The line that each Spark needs in ~/.ssh/authorized_keys',
    ),
  }),
  async ({ effects }) => {
    const { public_key } = await askFor<{ public_key: string }>(effects, [
      'key',
    ])
    return {
      version: '1',
      title: i18n('SSH public key'),
      message: i18n(
        'Add it, as one line, to ~/.ssh/authorized_keys of the account on each Spark.',
      ),
      result: {
        type: 'single',
        value: public_key,
        copyable: true,
        qr: true,
        masked: false,
      },
    }
  },
)
