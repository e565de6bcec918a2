package governance

import "fmt"

// maxMeasurements bounds the body of a change of kind measurements.
const maxMeasurements = 64 << 10

// checkMeasurements checks the body of a change of kind measurements.
func checkMeasurements(b []byte) error {
	if len(b) > maxMeasurements {
		return fmt.Errorf("%d bytes, at most %d", len(b), maxMeasurements)
	}
	return nil
}
