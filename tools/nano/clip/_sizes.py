import torch; torch.set_num_threads(1)
from vision import *
from pathlib import Path
D,C,O=Path("/work/shared/data"),Path("/root/train/cache"),Path("/root/train/out")
photos=corpora.photos64(D,C,"train"); tr,va=corpora.photos64_split(photos)
flickr,fv=load_captioned(D,C,5); classes=class_vectors(D,C)
m=VisionTrainer("resnet10t",np.concatenate([classes.numpy(),flickr.vectors[:,0]])).to(memory_format=torch.channels_last)
b=load_file("mmsearch/models/nano/clip/open_clip_model.safetensors")
m.visual.load_state_dict({k[7:]:v for k,v in b.items() if k[:7]=="visual."})
Goals.load(O/"image-teacher.pt",m)
held=corpora.LabelledImages(np.asarray(photos.pixels)[va],photos.labels[va])
for s in (112,128,144,160): print(s,validate(m,held,classes,fv,s),flush=True)
