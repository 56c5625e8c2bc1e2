package golden

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"

	"github.com/sluicebridge/sluice/bridge/config"
)

// Payload is a payload in one of the forms that a file can write it in. All nil: none was given.
type Payload struct {
	Text   *string   `toml:"text"`
	Base64 *string   `toml:"base64"`
	F32    []float32 `toml:"f32"` // little-endian, as i16
	I16    []int16   `toml:"i16"`
	File   *string   `toml:"file"` // beside the file of records

	bytes []byte // after load
}

// forms counts the forms that are given.
func (p *Payload) forms() (n int) {
	for _, given := range []bool{p.Text != nil, p.Base64 != nil, p.F32 != nil, p.I16 != nil, p.File != nil} {
		if given {
			n++
		}
	}
	return n
}

// load makes the bytes, and takes them off the room that is left for payloads of the file at path.
func (p *Payload) load(path string, room *int64) (err error) {
	switch {
	case p.Text != nil:
		p.bytes = []byte(*p.Text)
	case p.Base64 != nil:
		p.bytes, err = base64.StdEncoding.DecodeString(*p.Base64)
		if err != nil {
			err = fmt.Errorf("base64: %w", err)
		}
	case p.F32 != nil:
		p.bytes = make([]byte, 0, 4*len(p.F32))
		for _, v := range p.F32 {
			p.bytes = binary.LittleEndian.AppendUint32(p.bytes, math.Float32bits(v))
		}
	case p.I16 != nil:
		p.bytes = make([]byte, 0, 2*len(p.I16))
		for _, v := range p.I16 {
			p.bytes = binary.LittleEndian.AppendUint16(p.bytes, uint16(v))
		}
	case p.File != nil:
		p.bytes, err = p.read(path)
	}
	if *room -= int64(len(p.bytes)); *room < 0 && err == nil {
		err = fmt.Errorf("the payloads are more than %d bytes together", maxPayloads)
	}
	return err
}

// read reads the named file. It lies below the directory of the file of records, so that those who run the tests of others need not fear
// for theirs.
func (p *Payload) read(path string) ([]byte, error) {
	if !filepath.IsLocal(*p.File) {
		return nil, fmt.Errorf("file: %q, want a name beside the file of records", *p.File)
	}
	text, err := config.ReadFile(filepath.Join(filepath.Dir(path), *p.File), MaxFile)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return []byte(text), nil
}
