/** Names that several files need. */
import { sdk } from './sdk'

/** Where the page and the API answer, inside. */
export const port = 9999
export const hostId = 'main'
export const imageId = 'spark-control'
export const binary = '/usr/bin/spark-control'
/** The token that `Set password` makes. */
export const tokenName = 'owner'

/** The one volume: the program keeps everything on it. */
export const mounts = () =>
  sdk.Mounts.of().mountVolume({
    volumeId: 'main',
    subpath: null,
    mountpoint: '/data',
    readonly: false,
  })

/** Its volume's files are root's, of an unprivileged container; the image by itself would run as another. */
export const user = 'root'
/** Of every start of the program. `USER` is who the history names. */
export const environment = {
  SPARK_CONTROL_FILE: '/data/cluster.yaml',
  SPARK_CONTROL_DATA: '/data/state',
  USER: 'StartOS',
}
