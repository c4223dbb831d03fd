// Values that workgroups found apart and a later dispatch puts together, in order.

import { dim } from "../ir/dim.ts";
import { orderOf, type DType, type TensorType } from "../ir/types.ts";

/** The parts lie one after the other, each as the value itself does. */
export function partsType(type: TensorType, parts: number, dtype: DType): TensorType {
  return {
    ...type,
    dtype,
    shape: [dim(parts), ...type.shape],
    axes: [null, ...type.axes],
    ...(type.order && { order: [0, ...orderOf(type).map((a) => a + 1)] }),
  };
}
