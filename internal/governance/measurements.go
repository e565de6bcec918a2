package governance

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/cofferhq/coffer/internal/attest"
)

// maxMeasurements bounds the body of a change of kind measurements.
const maxMeasurements = 64 << 10

// checkMeasurements checks the body of a change of kind measurements.
func checkMeasurements(b []byte) error {
	if len(b) > maxMeasurements {
		return fmt.Errorf("%d bytes, at most %d", len(b), maxMeasurements)
	}
	if len(b) == 0 {
		return nil // no demand
	}
	_, err := attest.DecodePolicy(b)
	return err
}

// MeasurementsJSON is the body of a change of kind measurements in the form that
// people read.
func MeasurementsJSON(b []byte) ([]byte, error) {
	if err := checkMeasurements(b); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Canonical string `json:"canonical"`
	}{hex.EncodeToString(b)})
}
