/** The id of a network that a service bridges, as clients name it in `third_party_instance_id`. */
export function networkOf(serviceId: string, networkId: string): string {
  return `${serviceId}|${networkId}`;
}
